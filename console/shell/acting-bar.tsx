import type { CSSProperties } from 'react';
import { tenantsWords as words } from '../tenants/messages.ts';
import { Button } from '../ui/button.tsx';
import styles from './acting-bar.module.css';
import { useActAs, useActingTenant } from './acting-tenant.ts';

/** While an operator acts as a tenant: its name on a colour of its own, and the way back. */
export function ActingBar() {
  const tenant = useActingTenant();
  const actAs = useActAs();
  if (tenant === undefined) return null;
  return (
    <div
      className={styles.bar}
      role="region"
      aria-label={words.acting}
      style={{ '--hue': hueOf(tenant) } as CSSProperties}
    >
      <span>
        {words.acting} <strong>{tenant}</strong>
      </span>
      <span className={styles.hint}>{words.actingHint}</span>
      <Button kind="quiet" icon="close" onClick={() => actAs(undefined)}>
        {words.stopActing}
      </Button>
    </div>
  );
}

/** The same colour for the same name: degrees of hue. */
function hueOf(name: string): number {
  let hue = 0;
  for (const character of name) hue = (hue * 31 + character.charCodeAt(0)) % 360;
  return hue;
}
