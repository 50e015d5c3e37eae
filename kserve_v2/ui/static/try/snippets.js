// The request in the form, as programs and commands that send it. Each works when it is pasted: what is too long for a
// command line is in a file, which the page offers beside it.

import { modelPath } from "../api.js";
import { writeJson } from "../json.js";
import { base64OfBytes, base64OfText, tensorBytes } from "./bytes.js";
import { generateRequest, needsBinary } from "./request.js";
import { toNested } from "./tensors.js";

const INLINE_CHARACTERS = 6000;

const NUMPY = {
  BOOL: "np.bool_", UINT8: "np.uint8", UINT16: "np.uint16", UINT32: "np.uint32", UINT64: "np.uint64", INT8: "np.int8", INT16: "np.int16",
  INT32: "np.int32", INT64: "np.int64", FP16: "np.float16", BF16: "ml_dtypes.bfloat16", FP32: "np.float32", FP64: "np.float64", BYTES: "np.object_",
};
const CONTENTS = {
  BOOL: "bool", INT8: "int", INT16: "int", INT32: "int", INT64: "int64", UINT8: "uint", UINT16: "uint", UINT32: "uint", UINT64: "uint64",
  FP32: "fp32", FP64: "fp64", BYTES: "bytes",
};
// Parameters that tritonclient takes as arguments, and refuses among the others.
const ARGUMENTS = new Set(["sequence_id", "sequence_start", "sequence_end", "priority", "timeout"]);
const PYTHON_WORDS = new Set(
  "False None True and as assert async await break class continue def del elif else except finally for from global if import in is lambda nonlocal not or pass raise return try while with yield".split(" "),
);

const shell = (text) => `'${text.replaceAll("'", "'\\''")}'`;

export function python(value) {
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "number" && !Number.isFinite(value)) return `float("${Number.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf"}")`;
  if (typeof value === "object") return `{${Object.entries(value).map(([name, each]) => `${python(name)}: ${python(each)}`).join(", ")}}`;
  // Of texts, too, what JSON writes is a literal of Python.
  return writeJson(value);
}

// What the snippets call, and their own variables: no input is called like one of them.
const TAKEN = [
  "np", "json", "base64", "ml_dtypes", "Client", "answers", "client", "answer", "triton", "request", "inputs", "name", "queue", "each", "final",
  "result", "error", "list", "print", "open", "float", "isinstance", "Exception",
];

const isName = (text) => /^[A-Za-z_][A-Za-z0-9_]*$/.test(text) && !PYTHON_WORDS.has(text);

// Everything that a snippet is made from.
export function context({ form, request, tensors, parameters, version, server, place }) {
  const base = new URL(".", place);
  const body = writeJson(request);
  return {
    form, request, parameters, version, body,
    name: form.name,
    outputs: form.outputs.map(({ name }) => name),
    rest: base.href.replace(/\/$/, ""),
    host: `${base.host}${base.pathname.replace(/\/$/, "")}`,
    secure: base.protocol === "https:",
    path: `v2/${modelPath(form.name, version)}`,
    grpc: server?.grpc_port ? `${base.hostname}:${server.grpc_port}` : "",
    grpcSecure: Boolean(server?.grpc_tls),
    generate: () => writeJson(generateRequest(form, tensors, parameters)),
    long: body.length > INLINE_CHARACTERS,
    binary: needsBinary(form),
  };
}

const REQUEST_FILE = "request.json";
const GENERATE_FILE = "generate.json";

function curl(of) {
  if (of.form.decoupled) {
    const text = of.generate();
    const data = of.long ? `@${GENERATE_FILE}` : text;
    return {
      text: `curl -sN ${shell(`${of.rest}/${of.path}/generate_stream`)} \\\n  -H 'Content-Type: application/json' \\\n  -d ${shell(data)}`,
      file: of.long ? { name: GENERATE_FILE, text } : null,
    };
  }
  const url = shell(`${of.rest}/${of.path}/infer`);
  if (of.binary) {
    return {
      text: `curl -s ${url} \\\n  -H 'Content-Type: application/octet-stream' \\\n  -H 'Inference-Header-Content-Length: ${of.headLength}' \\\n  --data-binary @request.bin --output answer.bin`,
      file: { name: "request.bin", blob: true },
    };
  }
  return {
    text: `curl -s ${url} \\\n  -H 'Content-Type: application/json' \\\n  -d ${shell(of.long ? `@${REQUEST_FILE}` : of.body)}`,
    file: longFile(of),
  };
}

const elementText = (input, nested) => (input.parameters?.content_type === "base64" ? decodedText(nested) : python(nested));
const decodedText = (nested) => (Array.isArray(nested) ? `[${nested.map(decodedText).join(", ")}]` : `base64.b64decode(${python(nested)})`);

// Lines of Python that read the inputs from the file, and what they are then called.
const fromFile = (names) => [`request = json.load(open("${REQUEST_FILE}"))`, ...names];

const hasBase64 = (of) => of.request.inputs.some((input) => input.parameters?.content_type === "base64");

// An array of numpy for each input: [lines, names].
function arrays(of) {
  const used = new Set(TAKEN);
  const lines = [];
  const names = of.request.inputs.map((input, index) => {
    let name = isName(input.name) ? input.name : `input_${index}`;
    while (used.has(name)) name += "_";
    used.add(name);
    const type = NUMPY[input.datatype];
    if (of.long) {
      const data = input.parameters?.content_type === "base64" ? `[base64.b64decode(each) for each in request["inputs"][${index}]["data"]]` : `request["inputs"][${index}]["data"]`;
      lines.push(`${name} = np.array(${data}, dtype=${type}).reshape(${python(input.shape)})`);
    } else {
      const empty = input.data.length === 0;
      const nested = empty ? [] : toNested(input.data, input.shape);
      lines.push(`${name} = np.array(${elementText(input, nested)}, dtype=${type})${empty ? `.reshape(${python(input.shape)})` : ""}`);
    }
    return name;
  });
  return [of.long ? fromFile(lines) : lines, names];
}

const hasBrainFloats = (of) => of.request.inputs.some(({ datatype }) => datatype === "BF16");

const imports = (of, ...more) => [...(hasBase64(of) ? ["import base64"] : []), ...(of.long ? ["import json"] : []), ...(hasBrainFloats(of) ? ["import ml_dtypes"] : []), ...more];

const longFile = (of) => (of.long ? { name: REQUEST_FILE, text: of.body } : null);

function client(of) {
  const [lines, names] = arrays(of);
  const given = of.request.inputs.map((input, index) => [input.name, names[index]]);
  // Names of arguments of the client's own are given by position.
  const own = new Set(["model", "inputs", "version", "outputs", "classes", "parameters", "request_id", "sequence", "timeout", "headers", "self"]);
  const plain = given.every(([name]) => isName(name) && !own.has(name));
  const args = [python(of.name)];
  if (!plain) args.push(`{${given.map(([name, variable]) => `${python(name)}: ${variable}`).join(", ")}}`);
  else args.push(...given.map(([name, variable]) => `${name}=${variable}`));
  if (of.version) args.push(`version=${python(of.version)}`);
  if (Object.keys(of.parameters).length) args.push(`parameters=${python(of.parameters)}`);
  const call = of.form.decoupled
    ? [`for answer in client.stream(${args.join(", ")}):`, ...of.outputs.map((name) => `    print(answer[${python(name)}])`)]
    : [`answer = client.infer(${args.join(", ")})`, ...of.outputs.map((name) => `print(answer[${python(name)}])`)];
  return {
    text: [...imports(of, "import numpy as np", "from kserve_v2.client import Client"), "", `client = Client(${python(of.rest)})`, ...lines, ...call].join("\n"),
    file: longFile(of),
  };
}

function tritonInputs(of) {
  const [lines, names] = arrays(of);
  const inputs = of.request.inputs.map(
    (input, index) => `    triton.InferInput(${python(input.name)}, list(${names[index]}.shape), "${input.datatype}").set_data_from_numpy(${names[index]}),`,
  );
  return [...lines, "inputs = [", ...inputs, "]"];
}

function tritonArguments(of) {
  const args = [python(of.name), "inputs"];
  if (of.version) args.push(`model_version=${python(of.version)}`);
  const others = {};
  for (const [name, value] of Object.entries(of.parameters)) {
    if (ARGUMENTS.has(name)) args.push(`${name}=${python(value)}`);
    else others[name] = value;
  }
  if (Object.keys(others).length) args.push(`parameters=${python(others)}`);
  return args.join(", ");
}

const printed = (of) => of.outputs.map((name) => `print(answer.as_numpy(${python(name)}))`);

function tritonHttp(of) {
  if (of.form.decoupled) return { none: "tritonclient has no streams over HTTP." };
  const made = `client = triton.InferenceServerClient(${python(of.host)}${of.secure ? ", ssl=True" : ""})`;
  return {
    text: [...imports(of, "import numpy as np", "import tritonclient.http as triton"), "", made, ...tritonInputs(of), `answer = client.infer(${tritonArguments(of)})`, ...printed(of)].join("\n"),
    file: longFile(of),
  };
}

const NO_GRPC = { none: "The server has no port for gRPC." };

function tritonGrpc(of) {
  if (!of.grpc) return NO_GRPC;
  const made = `client = triton.InferenceServerClient(${python(of.grpc)}${of.grpcSecure ? ", ssl=True" : ""})`;
  const modules = imports(of, ...(of.form.decoupled ? ["import queue"] : []), "import numpy as np", "import tritonclient.grpc as triton");
  const call = of.form.decoupled
    ? [
        "answers = queue.Queue()",
        "client.start_stream(lambda result, error: answers.put(error or result))",
        `client.async_stream_infer(${tritonArguments(of)}, enable_empty_final_response=True)`,
        "while True:",
        "    answer = answers.get()",
        "    if isinstance(answer, Exception):",
        "        raise answer",
        '    final = answer.get_response().parameters["triton_final_response"].bool_param',
        "    if answer.get_response().outputs:",
        ...of.outputs.map((name) => `        print(answer.as_numpy(${python(name)}))`),
        "    if final:",
        "        break",
        "client.stop_stream()",
      ]
    : [`answer = client.infer(${tritonArguments(of)})`, ...printed(of)];
  return { text: [...modules, "", made, ...tritonInputs(of), ...call].join("\n"), file: longFile(of) };
}

function javascript(of) {
  const url = JSON.stringify(`${of.rest}/${of.path}/${of.form.decoupled ? "generate_stream" : "infer"}`);
  if (of.form.decoupled) {
    return {
      text: [
        `const answer = await fetch(${url}, {`,
        '  method: "POST",',
        '  headers: { "Content-Type": "application/json" },',
        `  body: ${JSON.stringify(of.generate())},`,
        "});",
        "for await (const part of answer.body.pipeThrough(new TextDecoderStream())) console.log(part);",
      ].join("\n"),
      file: null,
    };
  }
  if (of.binary) return { none: "JSON does not carry FP16 and BF16; see curl for the request in bytes." };
  return {
    text: [
      `const answer = await fetch(${url}, {`,
      '  method: "POST",',
      '  headers: { "Content-Type": "application/json" },',
      // As a text, and so is the answer: numbers of JavaScript do not hold all integers of 64 bits.
      `  body: ${JSON.stringify(of.body)},`,
      "});",
      "console.log(await answer.text());",
    ].join("\n"),
    file: null,
  };
}

const protoNumber = (value) => (typeof value === "bigint" || (typeof value === "number" && !Number.isFinite(value)) ? String(value) : value);

function protoParameter(value) {
  if (typeof value === "boolean") return { bool_param: value };
  if (typeof value === "string") return { string_param: value };
  return typeof value === "number" && !Number.isInteger(value) ? { double_param: value } : { int64_param: String(value) };
}

export function grpcRequest(of) {
  const { request } = of;
  const asBytes = of.request.inputs.some(({ datatype }) => !(datatype in CONTENTS));
  const inputs = request.inputs.map(({ name, datatype, shape, data, parameters }) => {
    if (asBytes) return { name, datatype, shape };
    const base64 = parameters?.content_type === "base64";
    const values = datatype === "BYTES" ? data.map((text) => (base64 ? text : base64OfText(text))) : data.map(protoNumber);
    return { name, datatype, shape, contents: { [`${CONTENTS[datatype]}_contents`]: values } };
  });
  return {
    model_name: of.name,
    ...(of.version ? { model_version: of.version } : {}),
    ...(Object.keys(of.parameters).length ? { parameters: Object.fromEntries(Object.entries(of.parameters).map(([name, value]) => [name, protoParameter(value)])) } : {}),
    inputs,
    ...(asBytes ? { raw_input_contents: request.inputs.map((input) => base64OfBytes(tensorBytes(input, input.parameters?.content_type === "base64"))) } : {}),
  };
}

function grpcurl(of) {
  if (!of.grpc) return NO_GRPC;
  const text = writeJson(grpcRequest(of));
  const call = `inference.GRPCInferenceService/${of.form.decoupled ? "ModelStreamInfer" : "ModelInfer"}`;
  const long = text.length > INLINE_CHARACTERS;
  return {
    text: `grpcurl ${of.grpcSecure ? "" : "-plaintext "}-d ${long ? "@" : shell(text)} ${of.grpc} ${call}${long ? " < grpc_request.json" : ""}`,
    file: long ? { name: "grpc_request.json", text } : null,
  };
}

export const SNIPPETS = [
  { id: "curl", title: "curl", make: curl },
  { id: "python", title: "Python", make: client },
  { id: "triton-http", title: "tritonclient HTTP", make: tritonHttp },
  { id: "triton-grpc", title: "tritonclient gRPC", make: tritonGrpc },
  { id: "javascript", title: "JavaScript", make: javascript },
  { id: "grpcurl", title: "grpcurl", make: grpcurl },
];
