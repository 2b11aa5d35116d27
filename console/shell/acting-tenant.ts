import { useMemo } from 'react';
import { useLocation, useRouter } from 'wouter';
import { useViewer } from '../graphql/use-viewer.ts';
import type { Column } from '../ui/grid.tsx';

/** `/console`, behind a prefix if the server has a public path. */
export const BASE = new URL(document.baseURI).pathname.replace(/\/$/, '');

/** The part of the address below which an operator sees one tenant only. */
const ACTING = /^\/as\/([\w-]{1,64})(?=\/|$)/;

/** The base of the router for a path below BASE: `/as/acme` while an operator acts as a tenant, otherwise empty. */
export function actingBase(path: string): string {
  return ACTING.exec(path)?.[0] ?? '';
}

/** The tenant as which an operator acts; undefined: all tenants. For a tenant's own key, the server decides. */
export function useActingTenant(): string | undefined {
  return ACTING.exec(useRouter().base.slice(BASE.length))?.[1];
}

/** The filter for the tenant as which an operator acts, otherwise for the given one. */
export function useTenantFilter(chosen?: string | null): { readonly tenant?: string } {
  const tenant = useActingTenant() ?? chosen ?? undefined;
  return tenant === undefined ? {} : { tenant };
}

/** Whether the rows of a list can be of several tenants: for an operator who acts as no tenant. */
export function useShowsTenants(): boolean {
  const acting = useActingTenant();
  return useViewer().isAdmin && acting === undefined;
}

/** The columns, without that of the tenant unless the rows can be of several. */
export function useTenantColumns<Row>(columns: readonly Column<Row>[]): readonly Column<Row>[] {
  const showsTenant = useShowsTenants();
  return useMemo(() => (showsTenant ? columns : columns.filter(({ key }) => key !== 'tenant')), [columns, showsTenant]);
}

/** Starts to act as a tenant, at the overview. Without a tenant, returns to the same page for all tenants. */
export function useActAs(): (tenant: string | undefined) => void {
  const [location, navigate] = useLocation();
  return (tenant) => {
    navigate(tenant === undefined ? `~${BASE}${location}${window.location.search}` : `~${BASE}/as/${tenant}/`);
  };
}
