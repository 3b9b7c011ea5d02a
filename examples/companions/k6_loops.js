// k6: agent loops against a model provider. An iteration is a loop; a loop's calls are k6's requests. Behind a gateway each
// loop is a trace of its own.
//
//   k6 run -e TARGET=http://127.0.0.1:4101 k6_loops.js
import http from 'k6/http';
import { check } from 'k6';
import exec from 'k6/execution';
import { Trend } from 'k6/metrics';

const TARGET = __ENV.TARGET || 'http://127.0.0.1:4101';
const MOST_STEPS = 10;
const JSON_BODY = { headers: { 'content-type': 'application/json' } };
const TOOLS = [
  {
    type: 'function',
    function: {
      name: 'get_weather',
      description: 'The weather in a city, now.',
      parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
    },
  },
];

const loopDuration = new Trend('loop_duration_ms', true);
const stepsPerLoop = new Trend('steps_per_loop');

export const options = {
  scenarios: {
    loops: {
      executor: 'constant-arrival-rate',
      rate: 60,
      timeUnit: '1m',
      duration: '1m',
      preAllocatedVUs: 20,
      maxVUs: 500,
    },
  },
  thresholds: {
    loop_duration_ms: ['p(95)<60000'],
    checks: ['rate>0.95'],
  },
};

// The next message of the model; undefined where it refuses.
function ask(trace, messages) {
  const body = JSON.stringify({ model: 'gpt-4o-mini', messages, tools: TOOLS });
  const params = Object.assign({ tags: { name: '/v1/chat/completions' } }, JSON_BODY);
  const answer = http.post(`${TARGET}/t/${trace}/openai/v1/chat/completions`, body, params);
  return answer.status === 200 ? answer.json('choices.0.message') : undefined;
}

export default function () {
  const trace = `k6-${exec.vu.idInTest}-${exec.vu.iterationInInstance}-${Date.now().toString(36)}`;
  const messages = [{ role: 'user', content: `Oslo or Lisbon for the weekend? (${trace})` }];
  const started = Date.now();
  let message;
  let steps = 0;
  do {
    message = ask(trace, messages);
    steps += 1;
    if (!message) break;
    messages.push(message);
    for (const call of message.tool_calls || []) {
      messages.push({ role: 'tool', tool_call_id: call.id, content: 'rain, 7 °C' });
    }
  } while (message.tool_calls && steps < MOST_STEPS);
  const succeeded = Boolean(message) && !message.tool_calls;
  check(succeeded, { 'loop succeeded': (is) => is });
  loopDuration.add(Date.now() - started);
  stepsPerLoop.add(steps);
  // Only a gateway takes this; what another target answers to it is no failure.
  http.post(
    `${TARGET}/_looptape/v1/traces/${trace}/end`,
    JSON.stringify({ outcome: succeeded ? 'success' : 'failure' }),
    Object.assign({ tags: { name: '(end of the loop)' }, responseCallback: http.expectedStatuses({ min: 200, max: 499 }) }, JSON_BODY),
  );
}
