// Leads `fetch`, `http` and `https` of Node through the proxy that HTTPS_PROXY names, where Node itself does not:
// older versions never do, newer ones do where NODE_USE_ENV_PROXY is set, but not for agents that a program makes.
// Loaded by NODE_OPTIONS in runs whose egress is captured. Hosts in NO_PROXY, Unix sockets, and agents with
// connections of their own are left alone.
'use strict';

const [major, minor] = process.versions.node.split('.').map(Number);
const fetchHeedsProxies = major >= 24 || (major === 22 && minor >= 21);

const proxy = parsed(process.env.https_proxy || process.env.HTTPS_PROXY);
const direct = (process.env.no_proxy || process.env.NO_PROXY || '').split(',').map((host) => host.trim().toLowerCase());

if (proxy && process.env.NODE_USE_ENV_PROXY === '1') {
  // What cannot be led through the proxy goes on as it would without looptape.
  try {
    leadAgents();
    if (!fetchHeedsProxies) leadFetch();
  } catch (error) {
    process.stderr.write(`looptape: this Node's HTTP calls are not captured (${error.message})\n`);
  }
}

function parsed(text) {
  try {
    return text && new URL(text);
  } catch {
    return undefined;
  }
}

function isDirect(host) {
  const name = host.toLowerCase().replace(/^\[|\]$/g, '');
  return direct.some((entry) => entry === name || entry === '*' || (entry.startsWith('.') && name.endsWith(entry)));
}

// A connection to `host:port` through the proxy.
function tunnel(host, port, done) {
  const socket = require('node:net').connect({ host: proxy.hostname, port: Number(proxy.port) || 80 });
  const name = host.includes(':') && !host.startsWith('[') ? `[${host}]` : host;
  let head = '';
  const failed = (error) => {
    socket.destroy();
    done(error);
  };
  const read = (piece) => {
    head += piece.toString('latin1');
    const end = head.indexOf('\r\n\r\n');
    if (end < 0) return;
    socket.removeListener('data', read);
    socket.removeListener('error', failed);
    socket.removeListener('end', ended);
    const status = Number(head.split(' ')[1]);
    if (status !== 200) return failed(new Error(`the proxy refused ${name}:${port} (${status})`));
    // Nobody speaks in a tunnel before its client does.
    if (head.length > end + 4) return failed(new Error(`${name}:${port} spoke first`));
    done(null, socket);
  };
  const ended = () => failed(new Error(`the proxy ended the connection to ${name}:${port}`));
  socket.setNoDelay(true);
  socket.on('error', failed);
  socket.on('end', ended);
  socket.on('data', read);
  socket.once('connect', () => socket.write(`CONNECT ${name}:${port} HTTP/1.1\r\nHost: ${name}:${port}\r\n\r\n`));
}

function leadAgents() {
  for (const [module, port] of [['node:http', 80], ['node:https', 443]]) {
    const { prototype } = require(module).Agent;
    const { createConnection } = prototype;
    prototype.createConnection = function (...given) {
      const options = given.find((one) => one && typeof one === 'object');
      const done = given.find((one) => typeof one === 'function');
      const host = options && (options.host || options.hostname);
      const heedsProxies = this.options?.proxyEnv;
      if (!host || !done || heedsProxies || options.socketPath || options.socket || isDirect(host)) {
        return createConnection.apply(this, given);
      }
      tunnel(host, options.port || port, (error, socket) => {
        if (error) return done(error);
        if (module === 'node:http') return done(null, socket);
        // The agent's own way goes on from an open connection: it knows the session cache and the server's name.
        done(null, createConnection.call(this, { ...options, socket }));
      });
      return undefined;
    };
  }
}

function leadFetch() {
  const place = Symbol.for('undici.globalDispatcher.1');
  // Looking at it loads Node's own fetch.
  void globalThis.Headers;
  const Agent = globalThis[place]?.constructor;
  if (!Agent) throw new Error('its fetch has another dispatcher');
  globalThis[place] = new Agent({
    connect(options, done) {
      const isTls = options.protocol === 'https:';
      const port = Number(options.port) || (isTls ? 443 : 80);
      const host = options.hostname;
      const begin = (error, socket) => {
        if (error) return done(error, null);
        if (!isTls) return done(null, socket);
        const servername = options.servername || (require('node:net').isIP(host) ? undefined : host);
        const tls = require('node:tls').connect({ socket, host, servername, ALPNProtocols: ['http/1.1'] });
        tls.once('secureConnect', () => done(null, tls));
        tls.once('error', (broken) => done(broken, null));
      };
      if (!isDirect(host)) return tunnel(host, port, begin);
      const socket = require('node:net').connect({ host: host.replace(/^\[|\]$/g, ''), port });
      socket.setNoDelay(true);
      socket.once('connect', () => begin(null, socket));
      socket.once('error', (broken) => done(broken, null));
    },
  });
}
