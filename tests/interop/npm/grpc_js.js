// @grpc/grpc-js: node grpc_js.js GRPC_ADDRESS REST_ADDRESS ROOTS; prints results as JSON.
"use strict";

const fs = require("node:fs");
const net = require("node:net");
const path = require("node:path");
const { once } = require("node:events");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const PROTO = path.join(__dirname, "..", "..", "..", "protos", "grpc_service.proto");
const { inference } = grpc.loadPackageDefinition(
  loader.loadSync(PROTO, { keepCase: true, longs: Number, includeDirs: [path.dirname(PROTO)] }),
);

const LARGE_BYTES = 16 * 1024 * 1024;
const within = (milliseconds) => ({ deadline: Date.now() + milliseconds });

function request(model, name, datatype, array) {
  const bytes = Buffer.from(array.buffer);
  const inputs = [{ name, datatype, shape: [array.length] }];
  return { model_name: model, inputs, raw_input_contents: [bytes] };
}

const floats = (values) => request("id", "IN", "FP32", Float32Array.from(values));
const number = (model, name, value) => request(model, name, "INT32", Int32Array.of(value));
const values = (answer) => {
  const bytes = answer.raw_output_contents[0];
  return Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i));
};
const integer = (answer) => answer.infer_response.raw_output_contents[0].readInt32LE(0);

// A call whose outcome is a promise; rejected with the error that has code and details.
function infer(client, message, options = within(20000)) {
  let call;
  const answer = new Promise((resolve, reject) => {
    call = client.ModelInfer(message, options, (error, value) => (error ? reject(error) : resolve(value)));
  });
  return { call, answer };
}

// Node's HTTP/2 refuses a stream by itself, before any of it is sent, if a GOAWAY is read between the request for it and
// the next write. grpc-js tries again once; where connections end all the time, that can be refused, too.
const REFUSED = "Stream refused by server";

// The outcome of a call that has left this process.
async function taken(start) {
  for (;;) {
    try {
      return await start();
    } catch (error) {
      if (error.details !== REFUSED) throw error;
    }
  }
}

async function codeOf(promise) {
  try {
    await promise;
    return "OK";
  } catch (error) {
    return grpc.status[error.code];
  }
}

async function gate() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const started = once(server, "connection");
  return { port: server.address().port, started, close: () => server.close() };
}

async function collect(call) {
  const found = [];
  for await (const answer of call) found.push(integer(answer));
  return found;
}

const CASES = {
  async unary(client) {
    return values(await taken(() => infer(client, floats([1.5, -2, 3])).answer));
  },
  async many(client) {
    let answered = 0;
    for (let i = 0; i < 200; i++) answered += (await CASES.unary(client)).join() === "1.5,-2,3";
    return answered;
  },
  async error(client) {
    try {
      await taken(() => infer(client, number("modèle 100%", "N", 1)).answer);
    } catch (error) {
      return [grpc.status[error.code], error.details];
    }
  },
  async large(client) {
    const sent = Buffer.alloc(LARGE_BYTES);
    for (let i = 0; i < LARGE_BYTES; i += 4) sent.writeFloatLE(i / 4, i);
    const message = { ...floats([]), raw_input_contents: [sent] };
    message.inputs = [{ name: "IN", datatype: "FP32", shape: [LARGE_BYTES / 4] }];
    const answer = await taken(() => infer(client, message, within(60000)).answer);
    return sent.equals(answer.raw_output_contents[0]);
  },
  async stream(client) {
    return taken(() => {
      const call = client.ModelStreamInfer(within(20000));
      call.write(number("count", "N", 3));
      call.write(number("count", "N", 2));
      call.end();
      return collect(call);
    });
  },
  async metadata(client) {
    const fields = new grpc.Metadata();
    fields.set("triton_grpc_error", "true");
    fields.set("more-bin", Buffer.from([0, 255]));
    fields.set("more", "x".repeat(4000));
    const found = taken(() => {
      const call = client.ModelStreamInfer(fields, within(20000));
      call.end(number("count", "N", -1));
      return collect(call);
    });
    return codeOf(found);
  },
  async deadline(client) {
    const { port, started, close } = await gate();
    const code = await codeOf(taken(() => infer(client, number("held", "PORT", port), within(500)).answer));
    (await started)[0].destroy();
    close();
    return code;
  },
  async cancel(client) {
    const { port, started, close } = await gate();
    let call;
    const answer = taken(() => {
      const held = infer(client, number("held", "PORT", port));
      call = held.call;
      return held.answer;
    });
    const code = codeOf(answer);
    const [connection] = await started;
    call.cancel();
    const found = await code;
    connection.destroy();
    close();
    return found;
  },
  // The model serves one request at a time: the second is answered only if the first has ended.
  async cancelled_stream(client) {
    const first = await taken(async () => {
      const call = client.ModelStreamInfer(within(20000));
      call.on("error", () => {});
      call.write(number("count", "N", 2 ** 31 - 1));
      const received = [];
      for (; received.length < 3; ) {
        const [answer] = await once(call, "data");
        call.pause();
        received.push(integer(answer));
        call.resume();
      }
      call.cancel();
      return received;
    });
    return [first, await CASES.stream(client)];
  },
};

async function main(address, roots) {
  const credentials = roots ? grpc.credentials.createSsl(fs.readFileSync(roots)) : grpc.credentials.createInsecure();
  const unlimited = { "grpc.max_receive_message_length": -1, "grpc.max_send_message_length": -1 };
  const options = { ...unlimited, "grpc.default_compression_algorithm": 0 };
  const client = new inference.GRPCInferenceService(address, credentials, options);
  const packed = new inference.GRPCInferenceService(address, credentials, {
    ...unlimited,
    "grpc.default_compression_algorithm": grpc.compressionAlgorithms.gzip,
    "grpc.use_local_subchannel_pool": 1,
  });
  const results = {};
  for (const [name, run] of Object.entries(CASES)) results[name] = await run(client);
  const sevens = Array(1000).fill(7);
  const unpacked = values(await taken(() => infer(packed, floats(sevens)).answer));
  results.gzip = unpacked.length === 1000 && unpacked.every((value) => value === 7);
  client.close();
  packed.close();
  console.log(JSON.stringify(results));
}

main(process.argv[2], process.argv[4]).catch((error) => {
  console.error(error);
  process.exit(1);
});
