// What a tool may ask of a host, with each of Node's own clients. It prints what it was answered.
import http from "node:http";
import https from "node:https";

const HOST = "api.weather.test/v1";

const ask = (client, url, options = {}) =>
  new Promise((resolve, reject) => {
    const request = client.get(url, options, (answer) => {
      let text = "";
      answer.on("data", (piece) => (text += piece));
      answer.on("end", () => resolve(JSON.parse(text)));
    });
    request.on("error", reject);
  });
const say = ({ path, body }) => console.log(path, body);

say(await (await fetch(`https://${HOST}/oslo?units=c`)).json());
say(await (await fetch(`https://${HOST}/notes`, { method: "POST", body: "umbrella" })).json());
say(await ask(https, `https://${HOST}/https`));
const agent = new https.Agent({ keepAlive: true });
say(await ask(https, `https://${HOST}/kept/1`, { agent }));
say(await ask(https, `https://${HOST}/kept/2`, { agent }));
agent.destroy();
say(await ask(http, `http://${HOST}/clear`));
const notes = [..."abcdefgh"].map((note) => fetch(`https://${HOST}/notes`, { method: "POST", body: note }));
for (const answer of await Promise.all(notes)) say(await answer.json());
