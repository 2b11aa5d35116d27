import { type Message, MessageType, parseMessage, type Server } from 'graphql-ws';
import type { Logger } from 'pino';
import type { WebSocket } from 'ws';
import { CPU_ESTIMATES_MS } from '../auth/quota.ts';
import { type CpuAccount, cpuPauseMs } from '../lib/operation-work.ts';

/**
 * Maximum messages, pings and pongs of a socket that is not authenticated, and their bytes: its `connection_init`, whose
 * credentials may be a JWT with many claims, and pings until these are checked.
 */
const MAX_EARLY_MESSAGES = 10;
const MAX_EARLY_BYTES = 10 * 1024;
/** Maximum bytes of a `ping` or `pong` of the protocol. The server repeats the payload of a ping. */
const MAX_PING_BYTES = 1024;
/** Milliseconds between pings. A client that has not answered one by the next is disconnected. */
const PING_EVERY_MS = 12_000;
/** Close codes of the protocol. */
const BAD_REQUEST = 4400;
const INTERNAL_ERROR = 4500;
const OF_CLIENTS: ReadonlySet<MessageType> = new Set([
  MessageType.ConnectionInit,
  MessageType.Ping,
  MessageType.Pong,
  MessageType.Subscribe,
  MessageType.Complete,
]);

/** A socket and its session, which it has once it is authenticated. */
type Peer = { readonly socket: WebSocket; session?: object };
type ServeOptions = {
  /** The CPU account that is charged for messages. */
  readonly account: () => CpuAccount | undefined;
  readonly log: Logger;
};

/**
 * Connects a socket to graphql-ws, in place of the library's own adapter, which reads messages of any number and prints
 * errors to the console.
 */
export function serveSocket<Extra extends Peer>(server: Server<Extra>, extra: Extra, options: ServeOptions): void {
  const { socket } = extra;
  const { log } = options;
  const stopPings = sendPings(socket);
  const onError = (error: unknown) => {
    log.error({ err: error }, 'WebSocket message failed');
    socket.close(INTERNAL_ERROR, 'Internal server error');
  };
  const onClosed = server.opened(
    {
      protocol: socket.protocol,
      send: (text) => send(socket, text),
      close: (code, reason) => {
        socket.close(code, reason);
      },
      onMessage: (handle) => {
        // `as`: the library parses strings, and takes any other value for a parsed message.
        const handleParsed = handle as (message: unknown) => Promise<void>;
        receiveMessages(extra, options, (message) => void handleParsed(message).catch(onError));
      },
    },
    extra,
  );
  socket.on('error', (error) => {
    // ws has closed the socket already.
    log.debug({ err: error }, 'WebSocket client violated the protocol');
  });
  socket.once('close', (code, reason) => {
    stopPings();
    onClosed(code, reason.toString()).catch(onError);
  });
}

/** Resolves when the text is written. A closed socket ignores it. */
async function send(socket: WebSocket, text: string): Promise<void> {
  if (socket.readyState !== socket.OPEN) return;
  await new Promise<void>((resolve) => {
    socket.send(text, () => {
      resolve();
    });
  });
}

/**
 * Handles the messages of a socket in order and charges each. While the account is overdrawn, neither messages that have
 * been received are parsed nor further ones read.
 */
function receiveMessages(peer: Peer, { account }: ServeOptions, handle: (message: Message) => void): void {
  const { socket } = peer;
  const received: Buffer[] = [];
  const early = { messages: 0, bytes: 0 };
  let timer: NodeJS.Timeout | undefined;
  const refuse = (reason: string) => {
    socket.close(BAD_REQUEST, reason);
  };
  const countEarly = ({ length }: Buffer) => {
    if (peer.session !== undefined) return;
    early.messages += 1;
    early.bytes += length;
    const isWithin = early.messages <= MAX_EARLY_MESSAGES && early.bytes <= MAX_EARLY_BYTES;
    if (!isWithin) refuse('too many or too long messages before the acknowledgement');
  };
  const take = (data: Buffer) => {
    const began = performance.now();
    const message = parse(data);
    const parseMs = performance.now() - began;
    if (message === undefined) refuse('Invalid message received');
    else if (isPing(message) && data.length > MAX_PING_BYTES) refuse(`a ping may have at most ${MAX_PING_BYTES} bytes`);
    else handle(message);
    // Charged afterwards: an operation is not refused because of its own message.
    account()?.spend(parseMs + priceOf(data));
  };
  const proceed = () => {
    clearTimeout(timer);
    while (socket.readyState === socket.OPEN) {
      const pauseMs = cpuPauseMs(account());
      if (pauseMs > 0) {
        socket.pause();
        timer = setTimeout(proceed, pauseMs);
        return;
      }
      const data = received.shift();
      if (data === undefined) break;
      take(data);
    }
    // A closing socket reads on until the client has closed it as well.
    received.length = 0;
    if (socket.isPaused) socket.resume();
  };
  const onControlFrame = (data: Buffer) => {
    countEarly(data);
    account()?.spend(priceOf(data));
    proceed();
  };
  socket.on('message', (data: Buffer) => {
    countEarly(data);
    received.push(data);
    proceed();
  });
  socket.on('ping', onControlFrame);
  socket.on('pong', onControlFrame);
  socket.once('close', () => {
    clearTimeout(timer);
  });
}

/** In milliseconds, without the time of parsing. */
function priceOf({ length }: Buffer): number {
  return CPU_ESTIMATES_MS.message + length * CPU_ESTIMATES_MS.characterOfRequest;
}

/** Returns undefined if the data is not a message that clients may send. */
function parse(data: Buffer): Message | undefined {
  try {
    const message = parseMessage(data.toString());
    return OF_CLIENTS.has(message.type) ? message : undefined;
  } catch {
    return undefined;
  }
}

function isPing({ type }: Message): boolean {
  return type === MessageType.Ping || type === MessageType.Pong;
}

/** Terminates a socket that does not answer pings. Returns a function that ends this. */
function sendPings(socket: WebSocket): () => void {
  let isAnswered = true;
  socket.on('pong', () => {
    isAnswered = true;
  });
  const timer = setInterval(() => {
    // The answer of a paused socket cannot be read.
    if (socket.isPaused || socket.readyState !== socket.OPEN) return;
    if (!isAnswered) {
      socket.terminate();
      return;
    }
    isAnswered = false;
    socket.ping();
  }, PING_EVERY_MS);
  return () => {
    clearInterval(timer);
  };
}
