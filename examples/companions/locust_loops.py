"""Locust: agent loops against a model provider. A user's task is a loop; each call of it is a request of type POST, the loop
as a whole one of type LOOP. Behind a gateway each loop is a trace of its own.

    locust -f locust_loops.py --headless -u 20 -r 5 -t 1m --host http://127.0.0.1:4101
"""

import json
import time
import uuid
from urllib.request import Request, urlopen

from locust import FastHttpUser, between, task

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather in a city, now.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]
MOST_STEPS = 10


class Agent(FastHttpUser):
    wait_time = between(0.05, 0.2)

    @task
    def loop(self):
        trace, started, failure = f"locust-{uuid.uuid4().hex}", time.perf_counter(), None
        messages = [{"role": "user", "content": f"Oslo or Lisbon for the weekend? ({trace})"}]
        try:
            for _ in range(MOST_STEPS):
                message = self.ask(trace, messages)
                messages.append(message)
                if not message.get("tool_calls"):
                    break
                for call in message["tool_calls"]:
                    messages.append({"role": "tool", "tool_call_id": call["id"], "content": "rain, 7 °C"})
            else:
                raise RuntimeError(f"no answer in {MOST_STEPS} steps")
        except Exception as error:
            failure = error
        took_ms = (time.perf_counter() - started) * 1000
        self.end(trace, "failure" if failure else "success")
        self.environment.events.request.fire(
            request_type="LOOP", name="loop", response_time=took_ms, response_length=0, exception=failure, context={}
        )

    def ask(self, trace, messages):
        """The next message of the model."""
        body = {"model": "gpt-4o-mini", "messages": messages, "tools": TOOLS}
        path = f"/t/{trace}/openai/v1/chat/completions"
        with self.client.post(path, json=body, name="/v1/chat/completions", catch_response=True) as answer:
            if answer.status_code != 200:
                answer.failure(f"status {answer.status_code}")
                raise RuntimeError(f"status {answer.status_code}")
            return answer.json()["choices"][0]["message"]

    def end(self, trace, outcome):
        """Says how the loop turned out. Only a gateway takes it, and it is no part of the load: Locust does not count it."""
        url = f"{self.host}/_looptape/v1/traces/{trace}/end"
        headers = {"content-type": "application/json"}
        try:
            urlopen(Request(url, data=json.dumps({"outcome": outcome}).encode(), headers=headers), timeout=5).close()
        except OSError:
            pass
