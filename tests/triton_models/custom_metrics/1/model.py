"""Makes metrics of every kind when it is loaded, and counts with them."""

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.family = pb_utils.MetricFamily(
            name="requests_process_latency_ns",
            description="Cumulative time spent processing requests",
            kind=pb_utils.MetricFamily.COUNTER,
        )
        labels = {"model": args["model_name"], "version": args["model_version"]}
        self.metric = self.family.Metric(labels=labels)
        self.gauges = pb_utils.MetricFamily("requests_last_rows", "Rows", pb_utils.MetricFamily.GAUGE)
        self.gauge = self.gauges.Metric(labels=labels)
        self.histograms = pb_utils.MetricFamily(
            name="requests_rows", description="Rows", kind=pb_utils.MetricFamily.HISTOGRAM
        )
        self.histogram = self.histograms.Metric(labels=labels, buckets=[1, 10, 100])

    def execute(self, requests):
        responses = []
        for request in requests:
            value = float(pb_utils.get_input_tensor_by_name(request, "INPUT0").as_numpy()[0])
            self.metric.increment(value)
            self.gauge.set(value)
            self.histogram.observe(value)
            pb_utils.Logger.log_info(f"Cumulative requests processing latency: {self.metric.value()}")
            outputs = [pb_utils.Tensor("OUTPUT0", np.array([self.metric.value()], np.float32))]
            responses.append(pb_utils.InferenceResponse(output_tensors=outputs))
        return responses
