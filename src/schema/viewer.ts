import { InvalidInputError } from '../delivery/webhook-subscription-errors.ts';
import { isTenant } from '../events/event-type.ts';

/** Who asks: the holder of the admin key, or someone whose credentials are bound to one tenant. */
export type Viewer =
  | { readonly kind: 'admin' }
  | { readonly kind: 'tenant'; readonly tenant: string; readonly scope: 'read' | 'write' };

/**
 * The tenant a resolver must keep to; undefined means all of them, which only the admin gets. Every resolver that
 * reads or changes something goes through here, so that there is one place where tenants are kept apart.
 */
export function tenantScope(viewer: Viewer, requestedTenant?: string | null): string | undefined {
  if (viewer.kind === 'admin') return requestedTenant ?? undefined;
  if (requestedTenant != null && requestedTenant !== viewer.tenant) {
    throw new InvalidInputError([{ path: 'tenant', message: 'is not the one your credentials belong to' }]);
  }
  return viewer.tenant;
}

/** The same as a condition on any table that has a tenant. Throws an InvalidInputError for what is no tenant's name. */
export function tenantWhere(viewer: Viewer, requestedTenant?: string | null): { readonly tenant?: string } {
  const tenant = tenantScope(viewer, requestedTenant);
  if (tenant === undefined) return {};
  if (!isTenant(tenant)) throw new InvalidInputError([{ path: 'tenant', message: 'is not the name of a tenant' }]);
  return { tenant };
}
