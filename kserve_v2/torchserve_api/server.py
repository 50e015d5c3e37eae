"""TorchServe's ports: what listens on them, what answers there, and the models that it starts with."""

import asyncio
import logging
import ssl
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from kserve_v2.inference import InferenceService
from kserve_v2.isolation.devices import gpu_count
from kserve_v2.net.http_server import HttpServer
from kserve_v2.net.limits import HttpLimits
from kserve_v2.net.listening import reachable, take_place
from kserve_v2.net.tls import TlsFiles, server_context
from kserve_v2.net.unix_socket import unix_path
from kserve_v2.repository.locations.locations import Locations
from kserve_v2.rest.body import BodyReader
from kserve_v2.rpc.asyncio_server import AsyncioServer
from kserve_v2.rpc.calls import Rpc
from kserve_v2.rpc.options import GrpcOptions
from kserve_v2.torchserve_api.addresses import merged
from kserve_v2.torchserve_api.answering import Headers
from kserve_v2.torchserve_api.app import Answering, Rules, TorchServeApp
from kserve_v2.torchserve_api.config import TorchServeConfig
from kserve_v2.torchserve_api.config_models import ALL
from kserve_v2.torchserve_api.connection import TorchServeConnection
from kserve_v2.torchserve_api.counters import Counters
from kserve_v2.torchserve_api.fetching import FetchRules
from kserve_v2.torchserve_api.grpc_inference import InferenceServicer
from kserve_v2.torchserve_api.grpc_management import ManagementServicer
from kserve_v2.torchserve_api.inference_calls import InferenceCalls
from kserve_v2.torchserve_api.lane import Models, PredictionLane
from kserve_v2.torchserve_api.listed_metrics import ListedMetric, listed_metrics
from kserve_v2.torchserve_api.management_calls import ManagementCalls
from kserve_v2.torchserve_api.metrics_calls import STANDARD, MetricsCalls
from kserve_v2.torchserve_api.places import Archives
from kserve_v2.torchserve_api.predictor import Predictor
from kserve_v2.torchserve_api.registry import Registry
from kserve_v2.torchserve_api.routes import Api, Call
from kserve_v2.torchserve_api.tokens import KEY_FILE, Tokens
from kserve_v2.torchserve_api.workflow_calls import WorkflowCalls
from kserve_v2.torchserve_api.workflow_registry import WorkflowRegistry

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the server says of all its ports. `key_folder`: where the file with tokens is."""

    http_limits: HttpLimits
    grpc_options: GrpcOptions
    fetch_rules: FetchRules
    allow_grpc: bool = True
    key_folder: Path = Path()


def _shown(listed: Sequence[ListedMetric] | None) -> frozenset[str]:
    return STANDARD if listed is None else frozenset(each.name for each in listed)


class TorchServe:
    """All of it. Made, started and stopped on one event loop."""

    def __init__(
        self, service: InferenceService, locations: Locations, config: TorchServeConfig, around: Surroundings
    ) -> None:
        """`locations`: what brings the models that are registered. Raises InvalidArgumentError for a metrics.yaml that
        cannot be read.
        """
        self._service, self._config, self._around, self._added = service, config, around, locations.added
        archives = Archives(config.model_store, config.allowed_urls, around.fetch_rules)
        listed = listed_metrics(config.metrics_config) if config.metrics_config is not None else None
        self.registry = Registry(
            service.manager, locations.added, archives, config, gpu_count(), locations.single, listed or ()
        )
        self._counters = Counters()
        predictor = Predictor(service, self.registry, self._counters)
        self._tokens: Tokens | None = None
        if config.token_authorization:
            self._tokens = Tokens(around.key_folder / KEY_FILE, config.token_expiration_min)
        store = config.workflow_store or config.model_store
        workflows = self._workflows = WorkflowRegistry(store, self.registry, predictor)
        inference = InferenceCalls(
            service, self.registry, predictor, decode=config.decode_input_request, workflows=workflows
        )
        of_workflows = WorkflowCalls(workflows, model_api=config.enable_model_api)
        management = ManagementCalls(service, self.registry, predictor, self._tokens, of_workflows)
        metrics = MetricsCalls(
            service.manager,
            self.registry,
            self._counters,
            None if config.model_metrics_auto_detect else _shown(listed),
            system=not config.disable_system_metrics,
        )
        self._calls: Mapping[Call, Answering] = {**inference.calls(), **management.calls(), **metrics.calls()}
        inference_rpcs = InferenceServicer(
            predictor,
            inference.health,
            service.tracer,
            decode=config.decode_input_request,
            tokens=self._tokens,
        )
        management_rpcs = ManagementServicer(
            management, model_api=config.enable_model_api, tokens=self._tokens
        )
        self._rpcs: tuple[tuple[Rpc, ...], ...] = (inference_rpcs.rpcs(), management_rpcs.rpcs())
        self._http: list[HttpServer] = []
        self._grpc: list[AsyncioServer] = []
        self.urls: dict[str, str] = {}
        """What listens where, by what it is."""

    def bind(self) -> None:
        """Take all ports. Raises OSError, TlsError."""
        config = self._config
        addresses = {
            Api.INFERENCE.value: config.inference_address,
            Api.MANAGEMENT.value: config.management_address,
        }
        if config.enable_metrics_api:
            addresses[Api.METRICS.value] = config.metrics_address
        rules = self._rules()
        for address, names in merged(addresses):
            apis = [Api(name) for name in names]
            app = TorchServeApp(apis, self._calls, rules)
            connection = partial(
                TorchServeConnection, limits=self._around.http_limits, lane=self._lane(apis, rules)
            )
            with _named_in_errors(*(f"{name}_address" for name in names)):
                place = take_place(address.host, address.port, self._around.http_limits.max_stall_s)
            self._http.append(
                HttpServer(app, place, connection, self._tls(["http/1.1"]) if address.tls else None)
            )
            where = reachable(address.host, place.port)
            if unix_path(where) is None:
                where = f"{'https' if address.tls else 'http'}://{where}"
            self.urls |= {f"TorchServe {name}": where for name in names}
        if self._around.allow_grpc:
            self._bind_grpc()

    def _bind_grpc(self) -> None:
        config, options = self._config, self._around.grpc_options
        inference = (config.grpc_inference_address, config.grpc_inference_port)
        management = (config.grpc_management_address, config.grpc_management_port)
        ages = (config.grpc_inference_max_connection_age_ms, config.grpc_management_max_connection_age_ms)
        if inference == management and inference[1]:
            servers = [((*self._rpcs[0], *self._rpcs[1]), inference, ages[0], "gRPC", "grpc_inference_port")]
        else:
            servers = [
                (self._rpcs[0], inference, ages[0], "gRPC inference", "grpc_inference_port"),
                (self._rpcs[1], management, ages[1], "gRPC management", "grpc_management_port"),
            ]
        for rpcs, (host, port), age, name, key in servers:
            tls = self._tls(()) if config.enable_grpc_ssl else None
            server = AsyncioServer(
                rpcs,
                replace(options, max_request_bytes=config.max_request_size, max_connection_age_ms=age),
                tls,
                self._service.inflight,
                self._service.slicer,
            )
            self._grpc.append(server)
            with _named_in_errors(key):
                self.urls[f"TorchServe {name}"] = reachable(host, server.bind(host, port))

    def _rules(self) -> Rules:
        config = self._config
        return Rules(
            BodyReader(config.max_request_size, self._service.inflight),
            self._counters,
            self._service.tracer,
            self._tokens,
            open_protocol=config.open_inference_protocol,
            model_api=config.enable_model_api,
            max_response_bytes=config.max_response_size,
            cors=_cors(config),
        )

    def _lane(self, apis: Collection[Api], rules: Rules) -> PredictionLane | None:
        """The short way of predictions; not where tokens are looked at."""
        if Api.INFERENCE not in apis or self._tokens is not None:
            return None
        config = self._config
        models = Models(self._service, self.registry)
        return PredictionLane(
            apis, rules, models, config.max_request_size, decode=config.decode_input_request
        )

    def _tls(self, protocols: tuple[str, ...] | list[str]) -> ssl.SSLContext:
        config = self._config
        # It was checked with the configuration.
        assert config.certificate_file is not None  # noqa: S101
        assert config.private_key_file is not None  # noqa: S101
        return server_context(TlsFiles(config.certificate_file, config.private_key_file), protocols)

    @property
    def names(self) -> Collection[str]:
        """The models of ours that are to be loaded."""
        return self._added.names()

    async def enter_models(self) -> None:
        """Register the models that it starts with: they are loaded with the server's others. The log is told of those
        that cannot be.
        """
        problems = await self.registry.enter_startup()
        if self._config.load_models == ALL and self._config.snapshot is None:
            problems += await self._workflows.enter_startup()
        for problem in problems:
            logger.error("not registered: %s", problem)
        if not self.registry.names and not problems:
            logger.warning(
                "no model is registered: --models all, or load_models, would load those of the model store"
            )

    async def start(self) -> None:
        """Listen. Raises OSError where the file with tokens cannot be written."""
        if self._tokens is not None:
            await asyncio.to_thread(self._tokens.write)
            logger.info("tokens are needed; they are in %s", KEY_FILE)
        if self._config.enable_model_api and self._tokens is None:
            logger.warning(
                "whoever reaches %s can have archives of the model store run as code: keep it to those who may, or "
                "have tokens asked for", self.urls[f"TorchServe {Api.MANAGEMENT.value}"],
            )  # fmt: skip
        for server in self._servers:
            await server.start()

    @property
    def _servers(self) -> list[HttpServer | AsyncioServer]:
        return [*self._http, *self._grpc]

    async def stop(self, grace_seconds: float) -> None:
        """Refuse connections, and let what is under way have `grace_seconds`."""
        await asyncio.gather(*(server.stop(grace_seconds) for server in self._servers))
        await self.registry.close()
        await self._workflows.close()
        if self._tokens is not None:
            await asyncio.to_thread(self._tokens.remove)


@contextmanager
def _named_in_errors(*keys: str) -> Iterator[None]:
    """A place that cannot be taken is one of TorchServe's, by these properties: no option of ours changes it."""
    try:
        yield
    except OSError as error:
        named = " and ".join(keys)
        raise OSError(
            f"{error}; choose another place for TorchServe's API with {named} in config.properties"
        ) from error


def _cors(config: TorchServeConfig) -> Headers:
    return [
        (name, value.encode("latin-1", "replace"))
        for name, value in (
            (b"access-control-allow-origin", config.cors_allowed_origin),
            (b"access-control-allow-methods", config.cors_allowed_methods),
            (b"access-control-allow-headers", config.cors_allowed_headers),
        )
        if value
    ]
