// npm zeromq and @msgpack/msgpack against a running mesh. TIDAL_GATEWAYS is a JSON map of region to
// port; test_python_client.py sets it. Exit status 1 when a test failed.
"use strict";
const assert = require("node:assert");
const zmq = require("zeromq");
const { encode, decode } = require("@msgpack/msgpack");

const gateways = JSON.parse(process.env.TIDAL_GATEWAYS || "{}");

function open(socket, region) {
  socket.linger = 0;
  socket.sendTimeout = 10000;
  socket.receiveTimeout = 10000;
  socket.connect(`tcp://127.0.0.1:${gateways[region]}`);
  return socket;
}

// One request, one answer; numbers beyond 2^53 come back as BigInt where wide is true.
async function call(socket, op, fields = {}, wide = false) {
  await socket.send(encode({ op, ...fields }, { useBigInt64: wide }));
  const frames = await socket.receive();
  return decode(frames[frames.length - 1], { useBigInt64: wide });
}

async function ok(socket, op, fields) {
  const answer = await call(socket, op, fields);
  assert.ok(answer.ok, `${op}: ${JSON.stringify(answer.error)}`);
  return answer;
}

const tests = {
  async a_dealer_writes_and_all_regions_read() {
    const dealer = open(new zmq.Dealer(), "eu-west");
    const hello = await ok(dealer, "hello");
    assert.strictEqual(hello.region, "eu-west");
    assert.ok(hello.signals.some((signal) => signal.name === "view"));
    const written = await ok(dealer, "signal", { signal: "view", item: 7001, user: 1, weight: 1.5 });
    for (const region of Object.keys(gateways)) {
      const reader = open(new zmq.Dealer(), region);
      const fields = { signal: "view", item: 7001, window: "all", token: written.token };
      assert.strictEqual((await ok(reader, "count", fields)).count, 1);
      reader.close();
    }
    dealer.close();
  },

  async answers_are_matched_by_id() {
    const dealer = open(new zmq.Dealer(), "us-east");
    const waiting = new Set();
    for (let id = 0; id < 100; id++) {
      waiting.add(id);
      await dealer.send(encode({ op: "signal", id, signal: "like", item: 7100 + (id % 3) }));
    }
    while (waiting.size > 0) {
      const answer = decode((await dealer.receive()).at(-1));
      assert.ok(answer.ok && waiting.delete(answer.id), JSON.stringify(answer));
    }
    dealer.close();
  },

  async req_plain_and_correlated() {
    for (const options of [{}, { correlate: true, relaxed: true }]) {
      const request = open(new zmq.Request(options), "ap-south");
      const written = await ok(request, "signal", { signal: "share", item: 7200, user: 2 });
      const fields = { signal: "share", item: 7200, at: Date.now() * 1e6, token: written.token };
      assert.ok((await ok(request, "score", fields)).score > 0.99);
      request.close();
    }
  },

  // JavaScript sends 1.0 as an integer, 2^53 as a double, and larger ids as strings.
  async numbers_as_javascript_sends_them() {
    const dealer = open(new zmq.Dealer(), "us-east");
    const large = "2305843009213693953"; // 2^61 + 1
    await ok(dealer, "signal", { signal: "view", item: large, user: 2 ** 53, weight: 1.0 });
    await ok(dealer, "signal", { signal: "view", item: large, weight: 0.25, ts: Date.now() * 1e6 });
    const candidates = [large, 2 ** 53];
    const terms = [{ signal: "view", agg: "count", window: "all", weight: 1.0 }];
    const answer = await call(dealer, "retrieve", { candidates, terms, read: "leader" }, true);
    assert.ok(answer.ok, JSON.stringify(answer.error));
    assert.strictEqual(answer.items[0].item, BigInt(large));
    assert.strictEqual(answer.items[0].score, 2);
    assert.strictEqual(answer.items[1].item, BigInt(2 ** 53));
    dealer.close();
  },

  async a_retry_counts_once() {
    const dealer = open(new zmq.Dealer(), "us-east");
    const fields = { signal: "view", item: 7300, producer: "node", seq: 1 };
    await ok(dealer, "signal", fields);
    assert.strictEqual((await ok(dealer, "signal", fields)).duplicate, true);
    const count = await ok(dealer, "count",
      { signal: "view", item: 7300, window: "all", read: "leader" });
    assert.strictEqual(count.count, 1);
    dealer.close();
  },

  async an_item_is_described_hidden_and_shown() {
    const dealer = open(new zmq.Dealer(), "eu-west");
    await ok(dealer, "put_item", { item: 7400, title: "Wellen und Gezeiten ≈", tags: ["a", "b"] });
    await ok(dealer, "signal", { signal: "view", item: 7400, user: 5 });
    const hide = await ok(dealer, "hide", { user: 5, item: 7400 });
    const reader = open(new zmq.Dealer(), "ap-south");
    const asked = { user: 5, candidates: [7400], token: hide.token };
    assert.strictEqual((await ok(reader, "retrieve", asked)).items.length, 0);
    const shown = await ok(dealer, "unhide", { user: 5, item: 7400 });
    asked.token = shown.token;
    assert.strictEqual((await ok(reader, "retrieve", asked)).items.length, 1);
    const item = await ok(reader, "get_item", { item: 7400, token: shown.token });
    assert.strictEqual(item.fields.title, "Wellen und Gezeiten ≈");
    reader.close();
    dealer.close();
  },

  async an_error_says_what_to_do() {
    const dealer = open(new zmq.Dealer(), "us-east");
    for (const [code, op, fields] of [
      ["UNKNOWN_OP", "nonsense", {}],
      ["UNKNOWN_SIGNAL", "signal", { signal: "nonsense", item: 1 }],
      ["BAD_REQUEST", "signal", { signal: "view", item: 0 }],
      ["BAD_REQUEST", "signal", { signal: "view", item: 1, weight: NaN }],
    ]) {
      const answer = await call(dealer, op, fields);
      assert.strictEqual(answer.ok, false);
      assert.strictEqual(answer.error.code, code, JSON.stringify(answer.error));
      assert.ok(answer.error.message.length > 10 && answer.error.retryable === false);
    }
    await ok(dealer, "ping");
    dealer.close();
  },
};

async function main() {
  let failed = 0;
  for (const [name, test] of Object.entries(tests)) {
    try {
      await test();
      console.log(`       ok     node ${name}`);
    } catch (error) {
      failed++;
      console.log(`       FAILED node ${name}`);
      console.error(name, error);
    }
  }
  process.exit(failed === 0 ? 0 : 1);
}
main();
