import { DomainError, InvalidInputError, NotFoundError } from '../lib/errors.ts';

/** The authenticated client. Only administrators, and publishers for every tenant, have no tenant of their own. */
export type Viewer = Credential &
  (
    | { readonly scope: 'ADMIN'; readonly tenant?: undefined }
    | { readonly scope: 'TENANT_WRITE' | 'TENANT_READ'; readonly tenant: string }
    | { readonly scope: 'PUBLISH'; readonly tenant: string | undefined }
  );

type Credential = {
  /** Identifies the credential in logs and limits. Not secret, and the same for each request; for an API key its row's id. */
  readonly credentialId: string;
  /** The credential is refused, and its streams end, from this time on; undefined if it does not expire. */
  readonly expiresAt?: Date | undefined;
  /** For people: the claim `sub` of a JWT, the name of an API key, or the subject of a session; undefined if there is none. */
  readonly subject?: string | undefined;
  /** Undefined if the credential is no session. CODE: a one-time code, which can only be exchanged for its session. */
  readonly session?: 'CONSOLE' | 'PORTAL' | 'CODE' | undefined;
  /** The id by which sessions name the key that created them, and with which they end; undefined if it may create none. */
  readonly issuer?: string | undefined;
  /** The only subscriptions whose rows a session sees and changes; undefined: all of its tenant. */
  readonly subscriptionIds?: readonly string[] | undefined;
  /** Whether event data and the bodies of requests and responses are hidden. */
  readonly hidesPayloads?: boolean | undefined;
  /** The language of a session, a BCP 47 tag. */
  readonly locale?: string | undefined;
};

export type Permissions = {
  readonly read: boolean;
  readonly write: boolean;
  readonly publish: boolean;
  readonly admin: boolean;
  /** Event data, and the bodies of requests and responses. */
  readonly payloads: boolean;
  /** Objects that belong to no single subscription, such as events and replays. */
  readonly wholeTenant: boolean;
  /** Creating sessions for the portal. */
  readonly issueSessions: boolean;
  /** Creating a session of the console in place of the key. */
  readonly signIn: boolean;
  /** Exchanging a one-time code for the token of its session. */
  readonly exchangeCode: boolean;
};

/** The permissions of each credential. Fields declare the permission they require. */
export function permissionsOf({ scope, session, issuer, subscriptionIds, hidesPayloads }: Viewer): Permissions {
  const isCode = session === 'CODE';
  const admin = scope === 'ADMIN' && !isCode;
  const write = admin || (scope === 'TENANT_WRITE' && !isCode);
  const read = write || (scope === 'TENANT_READ' && !isCode);
  return {
    admin,
    write,
    read,
    publish: (write || scope === 'PUBLISH') && session !== 'PORTAL',
    payloads: hidesPayloads !== true,
    wholeTenant: subscriptionIds === undefined,
    issueSessions: write && issuer !== undefined,
    signIn: read && issuer !== undefined && session === undefined,
    exchangeCode: read || isCode,
  };
}

/** The credential does not permit the operation. */
export class ForbiddenError extends DomainError {
  readonly code = 'FORBIDDEN';
}

/**
 * Refuses a session of some subscriptions. Everything that separates tenants calls it, so a resolver that does not restrict
 * itself to subscriptions is closed to such a session.
 */
export function requireWholeTenant({ subscriptionIds }: Viewer): void {
  if (subscriptionIds !== undefined) throw new ForbiddenError('this session is limited to some webhook subscriptions');
}

/**
 * The tenant that a resolver must keep to; undefined means all tenants, for administrators only. Every resolver that reads
 * or changes something calls this, tenantWhere, or one of the functions about subscriptions below, so tenants are separated
 * in one place.
 */
export function tenantScope(viewer: Viewer, requestedTenant?: string | null): string | undefined {
  const { tenant, tenantProblem } = readTenant(viewer, requestedTenant);
  if (tenantProblem !== undefined) throw new InvalidInputError([{ path: 'tenant', message: tenantProblem }]);
  return tenant;
}

/** The same for an input with other problems to report: `tenantProblem` is the reason why there is no tenant. */
export function readTenant(viewer: Viewer, requestedTenant: string | null | undefined): TenantOrProblem {
  requireWholeTenant(viewer);
  return matchTenant(viewer, requestedTenant);
}

type TenantOrProblem = { readonly tenant: string | undefined; readonly tenantProblem?: string };

/** The same without the check of requireWholeTenant: the caller restricts itself to the subscriptions of a session. */
export function matchTenant(viewer: Viewer, requestedTenant: string | null | undefined): TenantOrProblem {
  if (viewer.scope === 'ADMIN') return { tenant: requestedTenant ?? undefined };
  const tenant = viewer.tenant ?? requestedTenant ?? undefined;
  if (tenant === undefined) return { tenant, tenantProblem: 'is required' };
  if (requestedTenant != null && requestedTenant !== tenant) {
    return { tenant: undefined, tenantProblem: 'is not the one your credentials belong to' };
  }
  return { tenant };
}

/** The same as a condition on a table with tenants. Throws an InvalidInputError if the name is not valid. */
export function tenantWhere(viewer: Viewer, requestedTenant?: string | null): { readonly tenant?: string } {
  const tenant = tenantScope(viewer, requestedTenant);
  if (tenant === undefined) return {};
  if (!isTenant(tenant)) throw new InvalidInputError([{ path: 'tenant', message: 'is not the name of a tenant' }]);
  return { tenant };
}

/** The webhook subscriptions that the viewer may see, as a condition on their table. */
export function subscriptionsWhere({ tenant, subscriptionIds }: Viewer) {
  // Below AND, so that it does not replace a condition on the same column.
  return {
    ...(tenant !== undefined && { tenant }),
    AND: subscriptionIds ? [{ id: { in: [...subscriptionIds] } }] : [],
  };
}

/** The deliveries or attempts that the viewer may see, as a condition on their table. */
export function deliveriesWhere({ tenant, subscriptionIds }: Viewer) {
  const AND = subscriptionIds ? [{ subscriptionId: { in: [...subscriptionIds] } }] : [];
  return { ...(tenant !== undefined && { tenant }), AND };
}

/** The tenant for a change of this webhook subscription. Throws a NotFoundError if the session does not have it. */
export function subscriptionScope({ tenant, subscriptionIds }: Viewer, id: string): string | undefined {
  if (subscriptionIds?.includes(id.toLowerCase()) === false) throw new NotFoundError('webhook subscription');
  return tenant;
}

const TENANT = /^[A-Za-z0-9_-]{1,64}$/;

/** Whether `text` is a tenant's name: `[A-Za-z0-9_-]{1,64}`. */
export function isTenant(text: string): boolean {
  return TENANT.test(text);
}
