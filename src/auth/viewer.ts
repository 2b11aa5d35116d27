import { DomainError, InvalidInputError, NotFoundError } from '../lib/errors.ts';

/** The authenticated client. Only administrators, and publishers for all tenants, have no tenant. */
export type Viewer = Credential &
  (
    | { readonly scope: 'ADMIN'; readonly tenant?: undefined }
    | { readonly scope: 'TENANT_WRITE' | 'TENANT_READ'; readonly tenant: string }
    | { readonly scope: 'PUBLISH'; readonly tenant: string | undefined }
  );

type Credential = {
  /** Identifies the credential in logs and limits. Not secret, and constant. For API keys and sessions, the row's id. */
  readonly credentialId: string;
  /** Time from which the credential is refused, and at which its streams end; undefined if it does not expire. */
  readonly expiresAt?: Date | undefined;
  /** A text for people: the claim `sub` of a JWT, the name of an API key, or the subject of a session. */
  readonly subject?: string | undefined;
  /** Undefined if the credential is no session. CODE: a one-time code, which can only be exchanged for its session. */
  readonly session?: 'CONSOLE' | 'PORTAL' | 'CODE' | undefined;
  /** The id of the key by which its sessions refer to it; they end with the key. Undefined if it may not create sessions. */
  readonly issuer?: string | undefined;
  /** The subscriptions that a session may read and change; undefined: all of its tenant. */
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
 * Throws a ForbiddenError for a session that is limited to some subscriptions. All functions that separate tenants call it,
 * so such a session cannot use a resolver that does not filter by subscription.
 */
export function requireWholeTenant({ subscriptionIds }: Viewer): void {
  if (subscriptionIds !== undefined) throw new ForbiddenError('this session is limited to some webhook subscriptions');
}

/**
 * The tenant to which a resolver must restrict itself; undefined means all tenants, for administrators only. Every resolver
 * that reads or changes something calls this, tenantWhere, or one of the functions about subscriptions below, so tenants are
 * separated in one place.
 */
export function tenantScope(viewer: Viewer, requestedTenant?: string | null): string | undefined {
  const { tenant, tenantProblem } = readTenant(viewer, requestedTenant);
  if (tenantProblem !== undefined) throw new InvalidInputError([{ path: 'tenant', message: tenantProblem }]);
  return tenant;
}

/** Like tenantScope, but returns the problem, so that it can be reported with the other problems of an input. */
export function readTenant(viewer: Viewer, requestedTenant: string | null | undefined): ScopeOrProblem {
  requireWholeTenant(viewer);
  return matchTenant(viewer, requestedTenant);
}

type Problem = { readonly tenant: undefined; readonly tenantProblem: string };
type ScopeOrProblem = { readonly tenant: string | undefined; readonly tenantProblem?: undefined } | Problem;
/** A tenant that the viewer may use, or the reason why it may not. */
export type TenantOrProblem = { readonly tenant: string; readonly tenantProblem?: undefined } | Problem;

/** Like readTenant, for an input about one tenant: an administrator must name it. */
export function readOneTenant(viewer: Viewer, requestedTenant: string | null | undefined): TenantOrProblem {
  const { tenant, tenantProblem = 'is required' } = readTenant(viewer, requestedTenant);
  return tenant === undefined ? { tenant, tenantProblem } : { tenant };
}

/** Like readTenant, but without requireWholeTenant: the caller must restrict itself to the subscriptions of a session. */
export function matchTenant(viewer: Viewer, requestedTenant: string | null | undefined): ScopeOrProblem {
  const tenant = viewer.tenant ?? requestedTenant ?? undefined;
  if (tenant === undefined) return viewer.scope === 'ADMIN' ? { tenant } : { tenant, tenantProblem: 'is required' };
  if (requestedTenant != null && requestedTenant !== tenant) {
    return { tenant: undefined, tenantProblem: 'is not the one your credentials belong to' };
  }
  const tenantProblem = problemOfTenant(tenant);
  return tenantProblem === undefined ? { tenant } : { tenant: undefined, tenantProblem };
}

/** The result of tenantScope as a condition on a table with tenants. */
export function tenantWhere(viewer: Viewer, requestedTenant?: string | null): { readonly tenant?: string } {
  const tenant = tenantScope(viewer, requestedTenant);
  return tenant === undefined ? {} : { tenant };
}

/** The webhook subscriptions that the viewer may see, as a condition on their table. */
export function subscriptionsWhere({ tenant, subscriptionIds }: Viewer) {
  // In AND, so that the caller's conditions on the same column are not overwritten.
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

/** The tenant for a change of this webhook subscription. Throws a NotFoundError if the session may not change it. */
export function subscriptionScope({ tenant, subscriptionIds }: Viewer, id: string): string | undefined {
  if (subscriptionIds?.includes(id) === false) throw new NotFoundError('webhook subscription');
  return tenant;
}

const TENANT = /^[A-Za-z0-9_-]{1,64}$/;

/** Whether `text` is a tenant's name: `[A-Za-z0-9_-]{1,64}`. */
export function isTenant(text: string): boolean {
  return TENANT.test(text);
}

/** Returns the reason why the text is no tenant's name; undefined if it is one, or if there is no text. */
export function problemOfTenant(text: string | null | undefined): string | undefined {
  return text == null || isTenant(text) ? undefined : 'must be 1 to 64 letters, digits, _ or -';
}
