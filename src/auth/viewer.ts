import { InvalidInputError } from '../lib/errors.ts';

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
  /** For people: the claim `sub` of a JWT, or the name of an API key; undefined if there is none. */
  readonly subject?: string | undefined;
};

export type Permissions = {
  readonly read: boolean;
  readonly write: boolean;
  readonly publish: boolean;
  readonly admin: boolean;
};

/** The permissions of each scope. Fields declare the permission they require. */
export function permissionsOf({ scope }: Viewer): Permissions {
  const admin = scope === 'ADMIN';
  const write = admin || scope === 'TENANT_WRITE';
  return { admin, write, read: write || scope === 'TENANT_READ', publish: write || scope === 'PUBLISH' };
}

/**
 * The tenant that a resolver must keep to; undefined means all tenants, for administrators only. Every resolver that reads
 * or changes something calls this or tenantWhere, so tenants are separated in one place.
 */
export function tenantScope(viewer: Viewer, requestedTenant?: string | null): string | undefined {
  const { tenant, tenantProblem } = readTenant(viewer, requestedTenant);
  if (tenantProblem !== undefined) throw new InvalidInputError([{ path: 'tenant', message: tenantProblem }]);
  return tenant;
}

/** The same for an input with other problems to report: `tenantProblem` is the reason why there is no tenant. */
export function readTenant(
  viewer: Viewer,
  requestedTenant: string | null | undefined,
): { readonly tenant: string | undefined; readonly tenantProblem?: string } {
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

const TENANT = /^[A-Za-z0-9_-]{1,64}$/;

/** Whether `text` is a tenant's name: `[A-Za-z0-9_-]{1,64}`. */
export function isTenant(text: string): boolean {
  return TENANT.test(text);
}
