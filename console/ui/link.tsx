import type { ReactNode } from 'react';
import { Link as RouterLink } from 'wouter';
import { BASE } from '../shell/acting-tenant.ts';

type LinkProps = {
  /** A path of the console, from paths.ts: never a URL from a receiver or a publisher. */
  readonly to: string;
  /** Whether the page is for every tenant, also while an operator acts as one, whose lists leave out other objects. */
  readonly isForEveryTenant?: boolean;
  readonly children: ReactNode;
  readonly className?: string | undefined;
  readonly title?: string;
  /** For a link whose text says only in its row where it leads. */
  readonly 'aria-label'?: string;
  readonly 'aria-current'?: 'page' | undefined;
};

/** The only component with an address to click on. */
export function Link({ to, isForEveryTenant = false, ...rest }: LinkProps) {
  if (!to.startsWith('/') || to.startsWith('//')) throw new Error('a link leads to a page of the console');
  return <RouterLink {...rest} to={isForEveryTenant ? `~${BASE}${to}` : to} />;
}
