import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import ipaddr from 'ipaddr.js';

/** Addresses to answer with; `'NXDOMAIN'`, `'SERVFAIL'`, or `'silent'` for no answer at all. */
export type DnsAnswer =
  | { readonly addresses: readonly string[]; readonly ttlSeconds?: number }
  | 'NXDOMAIN'
  | 'SERVFAIL'
  | 'silent';
export type DnsQuestion = {
  readonly name: string;
  readonly type: 'A' | 'AAAA';
  /** Number of this question for its name and type, from 1. */
  readonly count: number;
};

export type DnsServer = {
  /** In the format of EgressPolicy.dnsServers. */
  readonly address: string;
  readonly questions: readonly DnsQuestion[];
  close(): Promise<void>;
};

const TYPES: Readonly<Record<number, 'A' | 'AAAA'>> = { 1: 'A', 28: 'AAAA' };
const RESPONSE_CODES = { NXDOMAIN: 3, SERVFAIL: 2 } as const;

/** A name server on loopback (RFC 1035) for one question and answers of one type. Each question can get another answer. */
export async function startDnsServer(answer: (question: DnsQuestion) => DnsAnswer): Promise<DnsServer> {
  const questions: DnsQuestion[] = [];
  const socket = createSocket('udp4');
  socket.on('message', (message, peer) => {
    const { name, type, end } = readQuestion(message);
    if (type === undefined) return;
    const count = questions.filter((other) => other.name === name && other.type === type).length + 1;
    const question = { name, type, count };
    questions.push(question);
    const reply = answer(question);
    if (reply === 'silent') return;
    const failed = typeof reply === 'string';
    const wanted = failed ? [] : reply.addresses.map((address) => ipaddr.parse(address)).filter(isOfType(type));
    const header = Buffer.from(message.subarray(0, 12));
    header.writeUInt16BE(0x8180 | (failed ? RESPONSE_CODES[reply] : 0), 2);
    header.writeUInt16BE(1, 4);
    header.writeUInt16BE(wanted.length, 6);
    header.writeUInt32BE(0, 8);
    const ttlSeconds = failed ? 0 : (reply.ttlSeconds ?? 0);
    const records = wanted.map((address) => record(type, address.toByteArray(), ttlSeconds));
    socket.send(Buffer.concat([header, message.subarray(12, end), ...records]), peer.port, peer.address);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return {
    address: `127.0.0.1:${socket.address().port}`,
    questions,
    close: async () => {
      socket.close();
      await once(socket, 'close');
    },
  };
}

function readQuestion(message: Buffer): { name: string; type: 'A' | 'AAAA' | undefined; end: number } {
  const labels: string[] = [];
  let offset = 12;
  for (let length = message.readUInt8(offset); length > 0; length = message.readUInt8(offset)) {
    labels.push(message.toString('latin1', offset + 1, offset + 1 + length));
    offset += length + 1;
  }
  return { name: labels.join('.').toLowerCase(), type: TYPES[message.readUInt16BE(offset + 1)], end: offset + 5 };
}

function isOfType(type: 'A' | 'AAAA'): (address: ipaddr.IPv4 | ipaddr.IPv6) => boolean {
  return (address) => (address.kind() === 'ipv4') === (type === 'A');
}

/** 0xc00c points at the question's name. */
function record(type: 'A' | 'AAAA', bytes: readonly number[], ttlSeconds: number): Buffer {
  const head = Buffer.alloc(12);
  head.writeUInt16BE(0xc00c, 0);
  head.writeUInt16BE(type === 'A' ? 1 : 28, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt32BE(ttlSeconds, 6);
  head.writeUInt16BE(bytes.length, 10);
  return Buffer.concat([head, Buffer.from(bytes)]);
}
