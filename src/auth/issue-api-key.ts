import type { Database } from '../postgres/client.ts';
import { uuid7 } from '../lib/uuid7.ts';
import { type InputProblem, InvalidInputError, NotFoundError } from '../lib/webhook-subscription-errors.ts';
import { isUuid } from '../subscriptions/service.ts';
import { isTenant } from '../events/event-type.ts';
import type { ApiKey, ApiKeyScope } from '../generated/prisma/client.ts';
import { generateApiKey, hashApiKey } from './api-key-secret.ts';

/** The row and, the only time it is readable, the key itself. */
export type IssuedApiKey = { readonly apiKey: ApiKey; readonly key: string };

type Input = {
  readonly name: string;
  readonly scope: ApiKeyScope;
  readonly tenant?: string | null | undefined;
};

const MAX_NAME_LENGTH = 200;

/** Throws InvalidInputError. */
export async function issueApiKey({ prisma, clock }: Database, { name, scope, tenant }: Input): Promise<IssuedApiKey> {
  const problems = findProblems({ name, scope, tenant });
  if (problems.length > 0) throw new InvalidInputError(problems);
  const key = generateApiKey();
  const apiKey = await prisma.apiKey.create({
    // A copy: Prisma wants bytes in a buffer of their own.
    data: { id: uuid7(clock.now()), name, scope, tenant: tenant ?? null, keyHash: new Uint8Array(hashApiKey(key)) },
  });
  return { apiKey, key };
}

/** A key that is revoked stays as it is. Throws NotFoundError. */
export async function revokeApiKey({ prisma, clock }: Database, id: string): Promise<ApiKey> {
  if (!isUuid(id)) throw new NotFoundError('API key');
  await prisma.apiKey.updateMany({ where: { id, revokedAt: null }, data: { revokedAt: new Date(clock.now()) } });
  const apiKey = await prisma.apiKey.findUnique({ where: { id } });
  if (apiKey === null) throw new NotFoundError('API key');
  return apiKey;
}

function findProblems({ name, scope, tenant }: Input): InputProblem[] {
  const problems: InputProblem[] = [];
  if (name.trim() === '' || name.length > MAX_NAME_LENGTH || /\p{Cc}/u.test(name)) {
    const message = `must be 1 to ${MAX_NAME_LENGTH} characters, none of them a control character`;
    problems.push({ path: 'name', message });
  }
  const problem = findTenantProblem(scope, tenant);
  if (problem !== undefined) problems.push({ path: 'tenant', message: problem });
  return problems;
}

function findTenantProblem(scope: ApiKeyScope, tenant: string | null | undefined): string | undefined {
  if (tenant == null) return scope === 'ADMIN' || scope === 'PUBLISH' ? undefined : `is required with ${scope}`;
  if (scope === 'ADMIN') return 'must be absent with ADMIN, which is for every tenant';
  return isTenant(tenant) ? undefined : 'must be 1 to 64 letters, digits, _ or -';
}
