import type { EventType } from '../generated/prisma/client.ts';
import { type InputProblem, InvalidInputError } from '../lib/errors.ts';
import type { Queryable } from '../postgres/client.ts';
import { problemOfThread } from './catalogue/compile.ts';
import type { SchemaThread } from './catalogue/schema-thread.ts';
import type { CheckResult } from './catalogue/schema-worker.ts';
import { type CatalogueServices, checkEventType, type EventTypeInput } from './catalogue/service.ts';
import { problemsOfData } from './catalogue/validator.ts';
import { readEventData } from './store.ts';

export type SchemaTrial = {
  /** Number of stored events of the type whose data was checked, starting with the newest. */
  readonly checkedCount: number;
  /** Number of checked events whose data does not match the schema. */
  readonly rejectedCount: number;
  /** Whether all stored events of the type were checked. */
  readonly isComplete: boolean;
  /** The newest events that do not match, newest first. `eventRowId`: events.id. */
  readonly samples: readonly { readonly eventRowId: string; readonly reasons: readonly InputProblem[] }[];
};

export const MAX_TRIAL_EVENTS = 1_000;
export const MAX_SAMPLES = 20;
/** Maximum bytes of data that are read for one trial. Bounds its memory and the work of Postgres. */
const MAX_BYTES = 8 * 1024 * 1024;
/** Maximum bytes of data in one task of the schema thread. Published events are checked between two tasks. */
const PIECE_BYTES = 512 * 1024;
/** Time limits of one piece, in milliseconds. Typical data takes 10 ms. */
const PIECE_LIMITS = { limitMs: 250, explainMs: 50 } as const;
/** Milliseconds after which no further piece is started. */
const MAX_MS = 5_000;

/**
 * Checks the newest stored events of the type against the schema that it would have after the change. Saves nothing. Also
 * returns the resulting entry. Throws an InvalidInputError as putEventType does.
 */
export async function tryEventType(
  services: CatalogueServices,
  input: EventTypeInput,
): Promise<{ readonly eventType: EventType; readonly trial: SchemaTrial }> {
  const { database, schemaThread } = services;
  const { description, isArchived } = await checkEventType(services, input);
  const now = new Date(database.clock.now());
  const times = { version: 1n, createdAt: now, updatedAt: now };
  const stored = await database.prisma.eventType.findUnique({ where: { name: input.name } });
  const present: EventType = stored ?? { name: input.name, description: '', schema: null, isArchived: false, ...times };
  // `as`: checkEventType has checked that it is a JSON object or null.
  const schema = input.schema === undefined ? present.schema : (input.schema as EventType['schema']);
  const eventType: EventType = {
    ...present,
    description: description ?? present.description,
    isArchived: isArchived ?? present.isArchived,
    schema,
    updatedAt: now,
  };
  if (schema === null)
    return { eventType, trial: { checkedCount: 0, rejectedCount: 0, isComplete: true, samples: [] } };
  const trial = await trySchema(database.readPool, { thread: schemaThread, type: input.name, schema });
  return { eventType, trial };
}

type Trial = { readonly thread: SchemaThread; readonly type: string; readonly schema: unknown };

async function trySchema(db: Queryable, { thread, type, schema }: Trial): Promise<SchemaTrial> {
  const { rows: newest } = await db.query<StoredEvent>(NEWEST, [type, MAX_TRIAL_EVENTS + 1]);
  const text = JSON.stringify(schema);
  const startedAt = performance.now();
  const samples: SchemaTrial['samples'][number][] = [];
  let [checkedCount, rejectedCount] = [0, 0];
  for (const piece of piecesOf(newest.slice(0, MAX_TRIAL_EVENTS))) {
    if (performance.now() - startedAt > MAX_MS) break;
    const ids = piece.map(({ id }) => id);
    const stored = await readEventData(db, ids);
    const kept = ids.filter((id) => stored.has(id));
    const data = kept.map((id) => stored.get(id) ?? Buffer.of());
    const result = await checkPiece(thread, { schema: text, data });
    for (const [index, mismatch] of result.mismatches.entries()) {
      if (mismatch === undefined) continue;
      rejectedCount += 1;
      if (samples.length < MAX_SAMPLES)
        samples.push({ eventRowId: kept[index] ?? '', reasons: problemsOfData(mismatch) });
    }
    checkedCount += result.checkedCount + (piece.length - kept.length);
    if (result.unfinished !== undefined) break;
  }
  return { checkedCount, rejectedCount, isComplete: checkedCount === newest.length, samples };
}

/** Throws an InvalidInputError if the thread cannot use the schema. */
async function checkPiece(
  thread: SchemaThread,
  piece: { readonly schema: string; readonly data: readonly Buffer[] },
): Promise<CheckResult> {
  const result = await thread.check({ ...piece, ...PIECE_LIMITS }).catch((error: unknown) => {
    throw new InvalidInputError([problemOfThread(error)]);
  });
  if (result.unusable !== undefined) throw new InvalidInputError([{ path: 'schema', message: result.unusable }]);
  return result;
}

type StoredEvent = { readonly id: string; readonly bytes: number };

// Excludes test events, which are not validated, and redacted events, which have no data.
const NEWEST = `
  SELECT id, octet_length(data) AS bytes FROM events
  WHERE type = $1 AND source <> 'TEST' AND redacted_at IS NULL
  ORDER BY id DESC LIMIT $2`;

/** Divides the first events, up to MAX_BYTES, into pieces of at most PIECE_BYTES, or of one larger event. */
function piecesOf(events: readonly StoredEvent[]): StoredEvent[][] {
  const pieces: StoredEvent[][] = [];
  let [allBytes, pieceBytes] = [0, Number.POSITIVE_INFINITY];
  for (const event of events) {
    allBytes += event.bytes;
    if (allBytes > MAX_BYTES) break;
    pieceBytes += event.bytes;
    const last = pieces.at(-1);
    if (last !== undefined && pieceBytes <= PIECE_BYTES) last.push(event);
    else {
      pieces.push([event]);
      pieceBytes = event.bytes;
    }
  }
  return pieces;
}
