import { type JetStreamManager, type MsgRequest, NatsError, type StoredMsg } from 'nats';

export type MessagesToErase = {
  readonly stream: string;
  /** May contain wildcards. */
  readonly subject: string;
  /** Only messages after this sequence number are compared. */
  readonly afterSequence: number;
  /** Maximum number of messages to compare. */
  readonly limit: number;
  /** Whether a message is deleted. */
  readonly matches: (message: StoredMsg) => boolean;
};

export type ErasedMessages = {
  readonly count: number;
  /** Sequence number of the last message that was compared. */
  readonly lastSequence: number;
  /** Whether no message of the subject is left after `lastSequence`. */
  readonly isDone: boolean;
};

/** Error code of JetStream: no message found. */
const NO_MESSAGE = 10037;
/** Maximum concurrent deletions. */
const IN_FLIGHT = 64;

/**
 * Deletes messages of a subject one by one. nats-server overwrites their bytes on its disk, which a purge does not do.
 * Before 2.10.11, a purge also makes consumers forget unacknowledged messages.
 */
export async function eraseMessages(jsm: JetStreamManager, request: MessagesToErase): Promise<ErasedMessages> {
  const { stream, subject, limit, matches } = request;
  let { afterSequence: lastSequence } = request;
  let count = 0;
  let deletions: Promise<void>[] = [];
  for (let compared = 0; compared < limit; compared += 1) {
    const message = await nextMessage(jsm, { stream, subject, from: lastSequence + 1 });
    if (message === undefined) {
      await Promise.all(deletions);
      return { count, lastSequence, isDone: true };
    }
    lastSequence = message.seq;
    if (!matches(message)) continue;
    count += 1;
    const deletion = erase(jsm, { stream, sequence: message.seq });
    // Promise.all reports its failure later. Without a handler until then, it would end the process.
    deletion.catch(() => undefined);
    deletions.push(deletion);
    if (deletions.length < IN_FLIGHT) continue;
    await Promise.all(deletions);
    deletions = [];
  }
  await Promise.all(deletions);
  return { count, lastSequence, isDone: false };
}

/** Returns the sequence number before the first message of the stream that was stored at `timeMs` (since 1970) or later. */
export async function sequenceBefore(
  jsm: JetStreamManager,
  { stream, timeMs }: { readonly stream: string; readonly timeMs: number },
): Promise<number> {
  const { state } = await jsm.streams.info(stream);
  let low = state.first_seq;
  let high = state.last_seq + 1;
  // Binary search for the first message in [low, high] of that time or later; messages in between may be deleted.
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const message = await nextMessage(jsm, { stream, subject: '>', from: middle });
    if (message === undefined || message.time.getTime() >= timeMs) high = middle;
    else low = message.seq + 1;
  }
  return low - 1;
}

async function nextMessage(
  jsm: JetStreamManager,
  { stream, subject, from }: { readonly stream: string; readonly subject: string; readonly from: number },
): Promise<StoredMsg | undefined> {
  // `as`: the server supports this request since 2.9; the client's type lacks it.
  const request = { seq: from, next_by_subj: subject } as unknown as MsgRequest;
  try {
    return await jsm.streams.getMessage(stream, request);
  } catch (error) {
    if (error instanceof NatsError && error.api_error?.err_code === NO_MESSAGE) return undefined;
    throw error;
  }
}

async function erase(
  jsm: JetStreamManager,
  { stream, sequence }: { readonly stream: string; readonly sequence: number },
): Promise<void> {
  try {
    await jsm.streams.deleteMessage(stream, sequence, true);
  } catch (error) {
    // Ignored: the message was acknowledged or has expired in the meantime.
    if (!(error instanceof NatsError && error.api_error !== undefined && isGone(error.api_error))) throw error;
  }
}

function isGone({ code, description }: { readonly code: number; readonly description: string }): boolean {
  return code === 404 || /no message found|sequence .* not found|message .* not found/i.test(description);
}
