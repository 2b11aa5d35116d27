import type { ClientRequest } from 'node:http';
import { isIP, type Socket } from 'node:net';
import got, { type Request, type Response } from 'got';
import type { FailureReason } from '../../generated/prisma/enums.ts';
import { loopClock } from '../../lib/event-loop.ts';
import { ADDRESS_TRY_MS, type AgentPair, type EgressAgents } from './agents.ts';
import { type Failure, failureOfError, timeoutFailure } from './failures.ts';

type PostOptions = {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  /** What the limit and responseTimeMs count from, on the loop's clock: time in which this process stood still is not the receiver's. */
  readonly startedAt: number;
};

/**
 * `saysNothing` about the receiver: it had closed a pooled connection before it could see the request, or this process stood
 * still while it connected, and Node gave up on an address that may have answered.
 */
type PostResult = { readonly outcome: Outcome; readonly isInconclusive: boolean };

/** A body that drips is not worth a place in the sender: the status is known. */
const MAX_BODY_READ_MS = 3_000;
const MAX_INFORMATIONAL_RESPONSES = 8;

/**
 * What is the same for every request is merged here once: that is most of what got costs. None of got's own time
 * limits: the one timer below covers every phase, and got's does not fire after a 101.
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
  maxHeaderSize: 16_384,
  // The default, said again because NODE_TLS_REJECT_UNAUTHORIZED must not change it.
  https: { minVersion: 'TLSv1.2', rejectUnauthorized: true },
});

/** One request on one connection. Never rejects; settles within the limit and leaves nothing behind but a pooled connection. */
function postOnce(agents: AgentPair, options: PostOptions): Promise<PostResult> {
  const { url, headers, body, timeoutMs, signal, startedAt } = options;
  return new Promise((resolve) => {
    const stream = client.stream(url, { headers: { ...headers }, body, agent: { ...agents } });
    const began = { atMs: performance.now(), onClock: loopClock.now() };
    const stalledMs = () => performance.now() - began.atMs - (loopClock.now() - began.onClock);
    const elapsedMs = () => Math.round(loopClock.now() - startedAt);
    // What a failure amounts to: once a status line has come, it is the outcome.
    let conclude = (failure: Failure): Outcome => ({ kind: 'failure', ...failure, responseTimeMs: elapsedMs() });

    function settle(outcome: Outcome, saysNothing = false): void {
      endLimit();
      endBodyLimit?.();
      signal?.removeEventListener('abort', onAbort);
      resolve({ outcome, isInconclusive: saysNothing });
    }
    function stop(failure: Failure, saysNothing = false): void {
      settle(conclude(failure), saysNothing);
      stream.destroy();
    }
    function onAbort(): void {
      stop({ reason: 'OTHER', message: 'the attempt was given up before a response came' });
    }

    let endBodyLimit: (() => void) | undefined;
    const endLimit = loopClock.after(timeoutMs - (loopClock.now() - startedAt), () => {
      stop(timeoutFailure(phaseOf(stream, url), timeoutMs));
    });
    let connection: Connection | undefined;
    stream.on('error', (error) => {
      const wasGivenUp = stream.timings?.connect === undefined && stalledMs() >= ADDRESS_TRY_MS;
      stop(failureOfError(error), wasGivenUp || connection?.isStaleAfter(error) === true);
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
      const giveUp = () => {
        settle(finish(false));
        stream.destroy();
      };
      endBodyLimit = loopClock.after(MAX_BODY_READ_MS, giveUp);
      stream.on('data', (chunk: Buffer) => {
        if (!received.add(chunk)) giveUp();
      });
      stream.once('end', () => {
        settle(finish(true));
        // An answer before the whole request was read: what is unsent would hold the connection for ever.
        if (connection?.isSent() !== true) stream.destroy();
      });
    });
    if (signal?.aborted === true) onAbort();
    else signal?.addEventListener('abort', onAbort);
  });
}

type Connection = {
  /** The whole request is in the hands of the operating system. */
  readonly isSent: () => boolean;
  readonly isStaleAfter: (error: unknown) => boolean;
};

/** Ends what Node leaves open: got hangs for ever after a 101, and follows any number of informational responses. */
function watch(request: ClientRequest, onInvalid: (message: string) => void): Connection {
  let isReused = false;
  let informational = 0;
  let isAnswered = false;
  // Node may report a second error on a request whose first one got has dealt with; unheard, it would end the process.
  request.on('error', () => undefined);
  request.once('socket', (socket: Socket) => {
    // Not request.reusedSocket: Node does not set it when a waiting request gets a connection that another one left.
    isReused = socket.bytesRead > 0;
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
    onInvalid('the response is 101 Switching Protocols, which was not asked for');
  });
  return {
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
  /** As checkTargetUrl returned it. */
  readonly url: string;
  /** Complete, but for host, content-length and connection, which the connection sets. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  /** From the call to the end of the response. */
  readonly timeoutMs: number;
  /** Gives up at once: a failure of reason OTHER, or the response as far as it had come. */
  readonly signal?: AbortSignal | undefined;
};

/** Makes one attempt. Never rejects, and settles within `timeoutMs` of the loop's clock whatever the receiver does. */
export async function postWithStaleConnectionRetry(agents: EgressAgents, request: PostRequest): Promise<Outcome> {
  const options = { ...request, startedAt: loopClock.now() };
  const { outcome, isInconclusive: saysNothing } = await postOnce(agents.pooled, options);
  if (!saysNothing || request.signal?.aborted === true) return outcome;
  return (await postOnce(agents.fresh, options)).outcome;
}

const MAX_BODY_BYTES = 20_000;

/** The start of a response's body, as the delivery log keeps it. */
type ResponseBody = {
  /** False once there is more than is kept: then nothing more needs to be read. */
  add(chunk: Buffer): boolean;
  /**
   * UTF-8, with U+FFFD for what is not and for NUL, which Postgres text cannot hold. `complete`: nothing is missing;
   * otherwise a character that was cut is left out.
   */
  text(options: { readonly complete: boolean }): string;
};

export function createResponseBody(): ResponseBody {
  const chunks: Buffer[] = [];
  let length = 0;
  return {
    add: (chunk) => {
      const room = MAX_BODY_BYTES - length;
      // Copied, or a part would keep its whole network buffer (64 KiB) alive.
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

/** What became of one HTTP request. A status line that came is the outcome, whatever happened to the body after it. */
export type Outcome = ResponseOutcome | FailureOutcome;

type ResponseOutcome = {
  readonly kind: 'response';
  /** 200 to 599. */
  readonly statusCode: number;
  /** Lower-case names; what came several times is joined by commas. */
  readonly headers: Readonly<Record<string, string>>;
  /** The first 20,000 bytes at most, as text. */
  readonly body: string;
  /** The rest of the body was too long, too slow or never came. */
  readonly bodyTruncated: boolean;
  /** Until the headers were there. */
  readonly responseTimeMs: number;
};

export type FailureOutcome = {
  readonly kind: 'failure';
  readonly reason: FailureReason;
  /** For the customer: no address, no header value, nothing of ours. */
  readonly message: string;
  readonly responseTimeMs: number;
};

/** Undefined for a 2xx: the one success there is. */
export function failureReasonOf(outcome: Outcome): FailureReason | undefined {
  if (outcome.kind === 'failure') return outcome.reason;
  if (outcome.statusCode >= 200 && outcome.statusCode < 300) return undefined;
  return outcome.statusCode >= 300 && outcome.statusCode < 400 ? 'REDIRECT' : 'HTTP_STATUS';
}
