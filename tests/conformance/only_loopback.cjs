// Loaded into every process of a tool under test (NODE_OPTIONS): it reaches this machine and nothing else.
// What it tried to reach besides is written to the file named by REACHED_OUTSIDE, and fails the test.
// Chance is taken out as well: the tools wait up to half a minute at random before they try again.
'use strict';

const dns = require('node:dns');
const fs = require('node:fs');
const net = require('node:net');

const isHere = (host) => !host || host === 'localhost' || host === '::1' || /^127\./.test(host);

function refuseElsewhere(host) {
  if (isHere(host)) return;
  fs.appendFileSync(process.env.REACHED_OUTSIDE, `${host}\n`);
  throw new Error(`${host} is not this machine`);
}

const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function guarded(...given) {
  // net.connect() hands its arguments over as one list that it has put in order already.
  const [first, second] = Array.isArray(given[0]) ? given[0] : given;
  if (typeof first === 'object' && first !== null) {
    if (!first.path) refuseElsewhere(first.host);
  } else if (typeof second === 'string') {
    refuseElsewhere(second);
  }
  return connect.apply(this, given);
};

for (const module of [dns, dns.promises]) {
  const lookup = module.lookup;
  module.lookup = function guarded(host, ...rest) {
    refuseElsewhere(net.isIP(host) ? '' : host); // an address is looked at when it is connected to
    return lookup.call(this, host, ...rest);
  };
}

Math.random = () => 0;
