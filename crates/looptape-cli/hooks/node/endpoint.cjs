// Speaks to the looptape that started this program: the protocol of tool calls, over loopback HTTP.
//
// Connections are kept alive, and keep no program from ending. What is only told is not waited for.
"use strict";

const { Agent, request } = require("node:http");

const ASK_MS = 60_000;
const TELL_MS = 2_000;
// What is told while looptape does not listen is dropped from here on.
const MOST_UNTOLD = 20_000;

const { LOOPTAPE_URL, LOOPTAPE_TRACE } = process.env;
const url = new URL(`${LOOPTAPE_URL.replace(/\/$/, "")}/t/${encodeURIComponent(LOOPTAPE_TRACE)}/_looptape/v1/tool`);
const agent = new Agent({ keepAlive: true });
let untold = 0;
let toldBefore = Promise.resolve();

// Posts, and waits for the answer: an object.
const ask = (body) => post(body, ASK_MS);

// Posts, one after the other; nobody waits.
function tell(body) {
  if (untold >= MOST_UNTOLD) return;
  untold += 1;
  const since = performance.now();
  const send = () => post({ ...body, ago_us: Math.round((performance.now() - since) * 1000) }, TELL_MS);
  const done = () => void (untold -= 1);
  toldBefore = toldBefore.then(send).then(done, done);
}

async function post(body, timeoutMs) {
  const data = Buffer.from(JSON.stringify(body));
  try {
    return await once(data, timeoutMs);
  } catch (error) {
    // The server may have closed a connection that had been idle.
    if (!error.wasIdle) throw error;
    return once(data, timeoutMs);
  }
}

function once(data, timeoutMs) {
  return new Promise((resolve, reject) => {
    const headers = { "content-type": "application/json", "content-length": data.length };
    const sent = request(url, { agent, method: "POST", headers, timeout: timeoutMs }, (response) => {
      const pieces = [];
      response.on("data", (piece) => pieces.push(piece));
      response.on("error", reject);
      response.on("end", () => {
        const text = Buffer.concat(pieces).toString();
        try {
          resolve(answer(response.statusCode, text));
        } catch (error) {
          reject(error);
        }
      });
    });
    sent.on("timeout", () => sent.destroy(new Error("no answer in time")));
    sent.on("error", (error) => {
      error.wasIdle = sent.reusedSocket && /^(ECONNRESET|EPIPE)$/.test(error.code);
      reject(error);
    });
    sent.end(data);
  });
}

function answer(status, text) {
  if (status !== 200 && status !== 202) throw new Error(`HTTP ${status}: ${text.slice(0, 200)}`);
  const value = JSON.parse(text);
  if (value === null || typeof value !== "object") throw new Error("the answer is no object");
  return value;
}

module.exports = { ask, tell };
