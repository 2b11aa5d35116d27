import { constants } from 'node:crypto';
import http, { type ClientRequest } from 'node:http';
import https from 'node:https';
import { isIP, type Socket } from 'node:net';
import got, { type Request, type Response } from 'got';
import type { FailureReason } from '../../generated/prisma/enums.ts';
import { loopClock } from '../../lib/event-loop.ts';
import { ADDRESS_TRY_MS, type AgentPair, type EgressAgents, remoteAddressOf } from './agents.ts';
import { type Failure, failureOfError, timeoutFailure } from './failures.ts';

type PostOptions = {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  /** Start of the time limit and of responseTimeMs, on the loop's clock: it excludes time in which this process stalled. */
  readonly startedAt: number;
};

/**
 * `isInconclusive`: the outcome shows nothing about the receiver. Either the receiver closed a pooled connection before
 * it received the request, or this process stalled while connecting, and Node.js timed out for an address that may have
 * answered.
 */
type PostResult = { readonly outcome: Outcome; readonly isInconclusive: boolean };

/** Milliseconds for reading a response's body: a slow body must not keep permits, as the status is known. */
const MAX_BODY_READ_MS = 3_000;
const MAX_INFORMATIONAL_RESPONSES = 8;
/**
 * Milliseconds for which dialing a proxy, which Node.js does not end together with a request, may outlast it: the time limit of
 * the request excludes stalls of this process.
 */
const DIAL_GRACE_MS = 5_000;

/**
 * Options of every request, merged once, because merging takes most of got's CPU time. got's own time limits are not
 * used: the one timer below covers every phase, and got's timers do not fire after a 101.
 */
const client = got.extend({
  method: 'POST',
  headers: { 'user-agent': undefined },
  retry: { limit: 0 },
  throwHttpErrors: false,
  followRedirect: false,
  decompress: false,
  http2: false,
  enableUnixSockets: false,
  request: (url, options, callback) => {
    // Without an agent Node.js would connect to any address.
    if (options.agent === undefined) throw new Error('request without a guarded agent');
    return (url.protocol === 'https:' ? https : http).request(url, options, callback);
  },
});

/** The options of Node.js besides method, headers and agent. */
const NATIVE_OPTIONS = {
  maxHeaderSize: 16_384,
  minVersion: 'TLSv1.2',
  // Node.js limits renegotiations of TLS 1.2 on servers only: a receiver could request thousands a second.
  secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
  // The default, repeated because NODE_TLS_REJECT_UNAUTHORIZED must not change it.
  rejectUnauthorized: true,
} as const;

/**
 * Starts a request of got that passes only these options to Node.js. Merging an agent into got's options and creating
 * its 34 options for Node.js, most of them unset, would take a fifth of a request's CPU time, and 22 KB.
 */
function startRequest(
  { url, headers, body, timeoutMs }: Pick<PostOptions, 'url' | 'headers' | 'body' | 'timeoutMs'>,
  agents: AgentPair,
): Request {
  const stream = client.stream(url, { headers: { ...headers }, body });
  const { options } = stream;
  const agent = /^https:/i.test(url) ? agents.https : agents.http;
  options.createNativeRequestOptions = () => {
    const { method, headers: sent } = options;
    // Node.js needs no other options.
    const needed: object = { ...NATIVE_OPTIONS, agent, method, headers: sent, dialMs: timeoutMs + DIAL_GRACE_MS };
    // `as`: got's type has all options. got calls this function in a later turn of the event loop.
    return needed as ReturnType<typeof options.createNativeRequestOptions>;
  };
  return stream;
}

/**
 * Sends one request on one connection. Never rejects; settles within the limit and leaves at most a pooled connection
 * open.
 */
function postOnce(agents: AgentPair, options: PostOptions): Promise<PostResult> {
  const { url, timeoutMs, signal, startedAt } = options;
  return new Promise((resolve) => {
    const stream = startRequest(options, agents);
    const began = { atMs: performance.now(), onClock: loopClock.now() };
    const stalledMs = () => performance.now() - began.atMs - (loopClock.now() - began.onClock);
    const elapsedMs = () => Math.round(loopClock.now() - startedAt);
    // Maps a failure to the outcome. After a status line has arrived, the response is the outcome.
    let conclude = (failure: Failure): Outcome => ({ kind: 'failure', ...failure, responseTimeMs: elapsedMs() });

    function settle(outcome: Outcome, isInconclusive = false): void {
      endLimit();
      endBodyLimit?.();
      signal?.removeEventListener('abort', onAbort);
      resolve({ outcome: { ...outcome, trace: traceOf(stream, connection) }, isInconclusive });
    }
    function stop(failure: Failure, isInconclusive = false): void {
      settle(conclude(failure), isInconclusive);
      stream.destroy();
    }
    function onAbort(): void {
      stop({ reason: 'OTHER', message: 'the attempt was aborted before a response came' });
    }

    let endBodyLimit: (() => void) | undefined;
    const endLimit = loopClock.after(timeoutMs - (loopClock.now() - startedAt), () => {
      stop(timeoutFailure(phaseOf(stream, url), timeoutMs));
    });
    let connection: Connection | undefined;
    stream.on('error', (error) => {
      const wasStalled = stream.timings?.connect === undefined && stalledMs() >= ADDRESS_TRY_MS;
      stop(failureOfError(error), wasStalled || connection?.isStaleAfter(error) === true);
    });
    stream.once('request', (request: ClientRequest) => {
      connection = watch(request, (message) => {
        stop({ reason: 'INVALID_RESPONSE', message });
      });
    });
    stream.once('response', (response: Response) => {
      const { statusCode } = response;
      if (statusCode < 200 || statusCode > 599) {
        stop({ reason: 'INVALID_RESPONSE', message: `the status ${statusCode} does not exist` });
        return;
      }
      const start = {
        kind: 'response',
        statusCode,
        headers: headersOf(response),
        responseTimeMs: elapsedMs(),
      } as const;
      const received = createResponseBody();
      const finish = (complete: boolean): Outcome => ({
        ...start,
        body: received.text({ complete }),
        bodyTruncated: !complete,
      });
      conclude = () => finish(false);
      const truncate = () => {
        settle(finish(false));
        stream.destroy();
      };
      endBodyLimit = loopClock.after(MAX_BODY_READ_MS, truncate);
      stream.on('data', (chunk: Buffer) => {
        if (!received.add(chunk)) truncate();
      });
      stream.once('end', () => {
        settle(finish(true));
        // The receiver responded before it read the whole request: the unsent rest would keep the connection open forever.
        if (connection?.isSent() !== true) stream.destroy();
      });
    });
    if (signal?.aborted === true) onAbort();
    else signal?.addEventListener('abort', onAbort);
  });
}

type Connection = {
  /** The address of the target; undefined until the connection is established. */
  readonly remoteAddress: () => string | undefined;
  /** Whether the connection was established for an earlier request. */
  readonly isReused: () => boolean;
  /** Whether the whole request was passed to the operating system. */
  readonly isSent: () => boolean;
  readonly isStaleAfter: (error: unknown) => boolean;
};

/** Sockets that had a request. */
const used = new WeakSet<Socket>();

/**
 * Aborts requests that got would not end: got hangs forever after a 101, and accepts any number of informational
 * responses.
 */
function watch(request: ClientRequest, onInvalid: (message: string) => void): Connection {
  let isReused = false;
  let remoteAddress: string | undefined;
  let informational = 0;
  let isAnswered = false;
  // Node.js may emit a second error after the one that got has handled; without a listener it would end the process.
  request.on('error', () => undefined);
  request.once('socket', (socket: Socket) => {
    // Not request.reusedSocket: Node.js does not set it when a queued request receives the connection of another
    // request.
    isReused = used.has(socket);
    used.add(socket);
    // Read early, because a destroyed socket no longer has its address.
    const readAddress = () => {
      remoteAddress = remoteAddressOf(socket);
    };
    if (socket.connecting) socket.once('connect', readAddress);
    else readAddress();
  });
  request.once('response', () => {
    isAnswered = true;
  });
  request.on('information', () => {
    informational += 1;
    if (informational > MAX_INFORMATIONAL_RESPONSES) onInvalid('too many informational (1xx) responses');
  });
  request.once('upgrade', (_response, socket) => {
    socket.destroy();
    onInvalid('the response is 101 Switching Protocols, which the request did not ask for');
  });
  return {
    remoteAddress: () => remoteAddress,
    isReused: () => isReused,
    isSent: () => request.writableFinished,
    isStaleAfter: (error) => isReused && !isAnswered && informational === 0 && isClosed(error),
  };
}

function isClosed(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
}

function headersOf(response: Response): Record<string, string> {
  return Object.fromEntries(
    Object.entries(response.headers).map(([name, value]) => [
      name,
      Array.isArray(value) ? value.join(', ') : (value ?? ''),
    ]),
  );
}

/** The phases of the request up to now. */
function traceOf({ timings }: Request, connection: Connection | undefined): RequestTrace {
  const { socket, lookup, connect, secureConnect, response, end } = timings ?? {};
  const isReused = connection?.isReused() === true;
  return {
    remoteAddress: connection?.remoteAddress() ?? null,
    dnsMs: isReused ? null : between(socket, lookup),
    connectMs: isReused ? null : between(lookup, connect),
    tlsMs: isReused ? null : between(connect, secureConnect),
    firstByteMs: between(secureConnect ?? connect, response),
    bodyMs: between(response, end ?? Date.now()),
  };
}

/** Milliseconds, longer than any attempt. */
const MAX_PHASE_MS = 3_600_000;

/** Milliseconds; null unless both times are known. got reads the system clock, which can be set back and forward. */
function between(start: number | undefined, end: number | undefined): number | null {
  if (start === undefined || end === undefined || end - start > MAX_PHASE_MS) return null;
  return Math.max(0, end - start);
}

function phaseOf(stream: Request, url: string): Parameters<typeof timeoutFailure>[0] {
  const timings = stream.timings;
  const { protocol, hostname } = new URL(url);
  if (timings?.connect === undefined) {
    const isName = isIP(hostname) === 0 && !hostname.startsWith('[');
    return isName && timings?.socket !== undefined && timings.lookup === undefined ? 'resolve' : 'connect';
  }
  return protocol === 'https:' && timings.secureConnect === undefined ? 'handshake' : 'respond';
}

export type PostRequest = {
  /** The `href` that checkTargetUrl returned. */
  readonly url: string;
  /** All headers except host, content-length and connection, which Node.js sets. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  /** Milliseconds from the call to the end of the response. */
  readonly timeoutMs: number;
  /**
   * Aborts the request at once: the outcome is a failure with reason OTHER, or the part of the response that has
   * arrived.
   */
  readonly signal?: AbortSignal | undefined;
};

/**
 * Sends one request, and sends it again on a new connection if the first result is inconclusive. Never rejects, and
 * settles within `timeoutMs` of the loop's clock.
 */
export async function postWithStaleConnectionRetry(agents: EgressAgents, request: PostRequest): Promise<Outcome> {
  const options = { ...request, startedAt: loopClock.now() };
  const { outcome, isInconclusive: isInconclusive } = await postOnce(agents.pooled, options);
  if (!isInconclusive || request.signal?.aborted === true) return outcome;
  return (await postOnce(agents.fresh, options)).outcome;
}

/** Maximum bytes of a response's body that the delivery log keeps. */
const MAX_BODY_BYTES = 20_000;

/** The start of a response's body. */
type ResponseBody = {
  /** Returns false once the body exceeds the limit: the rest need not be read. */
  add(chunk: Buffer): boolean;
  /**
   * Decodes UTF-8, with U+FFFD for invalid bytes and for NUL, which Postgres text cannot contain. Unless the body is
   * `complete`, a character that was cut is omitted.
   */
  text(options: { readonly complete: boolean }): string;
};

export function createResponseBody(): ResponseBody {
  const chunks: Buffer[] = [];
  let length = 0;
  return {
    add: (chunk) => {
      const room = MAX_BODY_BYTES - length;
      // Copied: a slice would keep its whole network buffer (64 KiB) in memory.
      if (room > 0) chunks.push(Buffer.from(chunk.subarray(0, room)));
      length += Math.min(chunk.length, room);
      return chunk.length <= room;
    },
    text: ({ complete }) =>
      new TextDecoder('utf-8', { ignoreBOM: true })
        .decode(Buffer.concat(chunks), { stream: !complete })
        .replaceAll('\0', '\uFFFD'),
  };
}

/** The outcome of one HTTP request. After a status line has arrived, the outcome is a response, even if its body fails. */
export type Outcome = (ResponseOutcome | FailureOutcome) & { readonly trace?: RequestTrace };

/**
 * The address that the request was sent to, and milliseconds of each phase: null if it did not take place or did not
 * end.
 */
export type RequestTrace = {
  /** Null without a connection. */
  readonly remoteAddress: string | null;
  /** `dnsMs`, `connectMs` and `tlsMs` are null on a reused connection. */
  readonly dnsMs: number | null;
  readonly connectMs: number | null;
  readonly tlsMs: number | null;
  /** Milliseconds from the established connection to the headers of the response. */
  readonly firstByteMs: number | null;
  readonly bodyMs: number | null;
};

type ResponseOutcome = {
  readonly kind: 'response';
  /** 200 to 599. */
  readonly statusCode: number;
  /** Lower-case names; repeated headers are joined by commas. */
  readonly headers: Readonly<Record<string, string>>;
  /** The first 20,000 bytes at most, as text. */
  readonly body: string;
  /** Whether the body is incomplete: the rest was too long, too slow or never arrived. */
  readonly bodyTruncated: boolean;
  /** Milliseconds from the start of the request until its headers arrived. */
  readonly responseTimeMs: number;
};

export type FailureOutcome = {
  readonly kind: 'failure';
  readonly reason: FailureReason;
  /** A text for the customer, without addresses, header values and internal details. */
  readonly message: string;
  readonly responseTimeMs: number;
};

/** The trace of a request that was not sent. */
export const NO_TRACE: RequestTrace = {
  remoteAddress: null,
  dnsMs: null,
  connectMs: null,
  tlsMs: null,
  firstByteMs: null,
  bodyMs: null,
};

/** Returns the reason of a failed outcome; undefined for a 2xx, the only success. */
export function failureReasonOf(outcome: Outcome): FailureReason | undefined {
  if (outcome.kind === 'failure') return outcome.reason;
  if (outcome.statusCode >= 200 && outcome.statusCode < 300) return undefined;
  return outcome.statusCode >= 300 && outcome.statusCode < 400 ? 'REDIRECT' : 'HTTP_STATUS';
}
