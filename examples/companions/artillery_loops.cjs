'use strict';
// Artillery: what an agent does between its calls. `artillery_loops.yml` runs a loop with it: a call, then the tools that
// it asks for, until there is an answer. Behind a gateway each loop is a trace of its own.
const { randomUUID } = require('node:crypto');

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
const MOST_STEPS = 10;

function begin(context, events, done) {
  const { vars } = context;
  vars.trace = `artillery-${randomUUID()}`;
  vars.started = performance.now();
  vars.steps = 0;
  vars.goes_on = true;
  vars.messages = [{ role: 'user', content: `Oslo or Lisbon for the weekend? (${vars.trace})` }];
  return done();
}

function ask(request, context, events, done) {
  request.json = { model: 'gpt-4o-mini', messages: context.vars.messages, tools: TOOLS };
  return done();
}

function answered(request, response, context, events, done) {
  const { vars } = context;
  vars.steps += 1;
  const message = response.statusCode === 200 ? JSON.parse(response.body).choices[0].message : undefined;
  const calls = message?.tool_calls ?? [];
  vars.messages.push(message, ...calls.map((call) => ({ role: 'tool', tool_call_id: call.id, content: 'rain, 7 °C' })));
  vars.outcome = message && calls.length === 0 ? 'success' : 'failure';
  vars.goes_on = calls.length > 0 && vars.steps < MOST_STEPS;
  return done();
}

function goesOn(context, next) {
  return next(context.vars.goes_on);
}

function end(context, events, done) {
  const { vars } = context;
  events.emit('counter', `loops.${vars.outcome}`, 1);
  events.emit('histogram', 'loop_duration_ms', performance.now() - vars.started);
  events.emit('histogram', 'steps_per_loop', vars.steps);
  // Only a gateway takes it, and it is no part of the load.
  const body = JSON.stringify({ outcome: vars.outcome });
  const headers = { 'content-type': 'application/json' };
  fetch(`${vars.target}/_looptape/v1/traces/${vars.trace}/end`, { method: 'POST', headers, body }).then(
    () => done(),
    () => done(),
  );
}

module.exports = { begin, ask, answered, goesOn, end };
