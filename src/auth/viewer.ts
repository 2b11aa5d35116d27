import { InvalidInputError } from '../lib/errors.ts';

/** Who asks. Only an administrator, and a service that publishes for every tenant, has none of its own. */
export type Viewer = Credential &
  (
    | { readonly scope: 'ADMIN'; readonly tenant?: undefined }
    | { readonly scope: 'TENANT_WRITE' | 'TENANT_READ'; readonly tenant: string }
    | { readonly scope: 'PUBLISH'; readonly tenant: string | undefined }
  );

type Credential = {
  /** For logs and limits, the same with each request; no secret. An API key's is the id of its row. */
  readonly credentialId: string;
  /** From then on the credential is refused, and streams that were opened with it end; undefined: never. */
  readonly expiresAt?: Date | undefined;
};

export type Permissions = {
  readonly read: boolean;
  readonly write: boolean;
  readonly publish: boolean;
  readonly admin: boolean;
};

/** What each scope may do; which field wants what is said where the field is. */
export function permissionsOf({ scope }: Viewer): Permissions {
  const admin = scope === 'ADMIN';
  const write = admin || scope === 'TENANT_WRITE';
  return { admin, write, read: write || scope === 'TENANT_READ', publish: write || scope === 'PUBLISH' };
}

/**
 * The tenant a resolver must keep to; undefined means all of them, which only the admin gets. Every resolver that
 * reads or changes something goes through here, so that there is one place where tenants are kept apart.
 */
export function tenantScope(viewer: Viewer, requestedTenant?: string | null): string | undefined {
  const { tenant, tenantProblem } = readTenant(viewer, requestedTenant);
  if (tenantProblem !== undefined) throw new InvalidInputError([{ path: 'tenant', message: tenantProblem }]);
  return tenant;
}

/** The same for an input whose other problems are to be told as well: `tenantProblem` says why there is no tenant. */
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

/** The same as a condition on any table that has a tenant. Throws an InvalidInputError for what is no tenant's name. */
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
