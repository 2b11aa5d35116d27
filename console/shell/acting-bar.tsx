import { type CSSProperties, lazy, Suspense, useState } from 'react';
import { tenantsWords as words } from '../tenants/messages.ts';
import { Button } from '../ui/button.tsx';
import styles from './acting-bar.module.css';
import { useActAs, useActingTenant } from './acting-tenant.ts';

const PortalLink = lazy(async () => ({ default: (await import('../tenants/portal-link.tsx')).PortalLink }));

/** Shown while an operator acts as a tenant: the tenant's name on its own colour, and a link back. */
export function ActingBar() {
  const tenant = useActingTenant();
  const actAs = useActAs();
  const [isLinking, setLinking] = useState(false);
  if (tenant === undefined) return null;
  return (
    <div
      className={styles.bar}
      role="region"
      aria-label={words.acting}
      style={{ '--hue': hueOf(tenant) } as CSSProperties}
    >
      <span className={styles.name}>
        {words.acting} <strong>{tenant}</strong>
      </span>
      <span className={styles.hint}>{words.actingHint}</span>
      <span className={styles.actions}>
        <Button kind="quiet" icon="link" onClick={() => setLinking(true)}>
          {words.portalLink}
        </Button>
        <Button kind="quiet" icon="close" onClick={() => actAs(undefined)}>
          {words.stopActing}
        </Button>
      </span>
      {isLinking && (
        <Suspense>
          <PortalLink tenant={tenant} onClose={() => setLinking(false)} />
        </Suspense>
      )}
    </div>
  );
}

/** The hue of a name in degrees, always the same for the same name. */
function hueOf(name: string): number {
  let hue = 0;
  for (const character of name) hue = (hue * 31 + character.charCodeAt(0)) % 360;
  return hue;
}
