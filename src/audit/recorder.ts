import type { Viewer } from '../auth/viewer.ts';
import type { AuditActorKind } from '../generated/prisma/enums.ts';
import { isObject } from '../lib/json.ts';
import { isUuid, uuid7 } from '../lib/uuid7.ts';
import type { MutationRecorder, Queryable } from '../postgres/client.ts';
import { differences, readSnapshot, type Snapshot } from './objects.ts';

/** One call of a mutation. */
export type MutationCall = {
  readonly mutation: string;
  /** The GraphQL type of the object that it changes. */
  readonly objectType: string;
  readonly args: Readonly<Record<string, unknown>>;
  readonly viewer: Viewer;
  /** Postgres's time in milliseconds since 1970. */
  readonly nowMs: number;
};

/**
 * Writes one row of the audit log for a call of a mutation, in the transaction that changes something (`mutate` and
 * `mutateWithPrisma` in postgres/client.ts). A call whose transaction is rolled back leaves no row.
 */
export class AuditRecorder implements MutationRecorder {
  readonly #call: MutationCall;
  /** The id of the row. All transactions of the call use the same id, so that the call has one row. */
  readonly #id: string;
  #before: Snapshot | undefined;
  #isWritten = false;
  #isOmitted = false;

  constructor(call: MutationCall) {
    this.#call = call;
    this.#id = uuid7(call.nowMs);
  }

  async begin(db: Queryable): Promise<void> {
    if (!this.#isWritten) this.#before = await this.#read(db, objectIdOf(this.#call, undefined));
  }

  async end(db: Queryable, result: unknown): Promise<void> {
    if (this.#isOmitted) return;
    const { mutation, objectType, viewer } = this.#call;
    const objectId = objectIdOf(this.#call, result);
    const after = await this.#read(db, objectId);
    const changed = differences(this.#before?.settings ?? null, after?.settings ?? null);
    const actor = actorOf(viewer);
    await db.query(INSERT, [
      this.#id,
      tenantOf(this.#call, after ?? this.#before) ?? null,
      mutation,
      actor.kind,
      viewer.scope,
      actor.id ?? null,
      actor.name ?? null,
      objectType,
      objectId ?? null,
      changed.before && JSON.stringify(changed.before),
      changed.after && JSON.stringify(changed.after),
    ]);
    this.#isWritten = true;
  }

  /** Records a mutation that has changed something outside a transaction of `mutate`. */
  async finish(db: Queryable, result: unknown): Promise<void> {
    if (!this.#isWritten) await this.end(db, result);
  }

  omit(): void {
    this.#isOmitted = true;
  }

  #read(db: Queryable, id: string | undefined): Promise<Snapshot | undefined> {
    const { objectType, viewer } = this.#call;
    return readSnapshot(db, { type: objectType, id, tenant: viewer.tenant });
  }
}

const INSERT = `
  INSERT INTO audit_log
    (id, tenant, mutation, actor_kind, actor_scope, actor_id, actor_name, object_type, object_id, before, after)
  VALUES ($1::uuid, $2, $3, $4::audit_actor_kind, $5::api_key_scope, $6, $7, $8, $9, $10::json, $11::json)
  ON CONFLICT (id) DO NOTHING`;

function tenantOf({ args, viewer }: MutationCall, object: Snapshot | undefined): string | undefined {
  return viewer.tenant ?? object?.tenant ?? textIn(args, 'tenant') ?? textIn(args['input'], 'tenant');
}

type Actor = { readonly kind: AuditActorKind; readonly id?: string; readonly name?: string | undefined };

function actorOf({ credentialId, subject, session }: Viewer): Actor {
  if (credentialId === 'admin') return { kind: 'OPERATOR' };
  if (session !== undefined) return { kind: 'SESSION', id: credentialId, name: subject };
  // Only API keys have UUIDs. The ids of JWTs are hashes of the claim `sub` or of the token.
  if (isUuid(credentialId)) return { kind: 'API_KEY', id: credentialId, name: subject };
  return { kind: 'JWT', name: subject };
}

/** Maximum length of a recorded id. No object has a longer one. */
const MAX_ID_LENGTH = 256;

/** The id in the arguments, or the id of the created object. */
function objectIdOf({ objectType, args }: MutationCall, result: unknown): string | undefined {
  const id =
    textIn(args, 'id') ??
    textIn(args['input'], 'subscriptionId') ??
    (objectType === 'EventType' ? textIn(args['input'], 'name') : undefined) ??
    (objectType === 'Tenant' ? textIn(args, 'tenant') : undefined) ??
    textIn(result, 'id');
  return id?.replaceAll('\0', '').slice(0, MAX_ID_LENGTH);
}

/** A member of an object from GraphQL or Prisma; undefined if it is not a string. */
function textIn(value: unknown, name: string): string | undefined {
  const member = isObject(value) ? value[name] : undefined;
  return typeof member === 'string' ? member : undefined;
}
