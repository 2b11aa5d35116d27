import type { Viewer } from './viewer.ts';

/**
 * Whose sockets, streams and running operations are counted together, undefined for administrators: a tenant's, however
 * many credentials it has; JWTs are made by the thousand.
 */
export function holderOf(viewer: Viewer): string | undefined {
  return viewer.scope === 'ADMIN' ? undefined : (viewer.tenant ?? viewer.credentialId);
}

/** Counts what tenants hold; administrators count in the sum alone. */
export type HolderCount = {
  /** Returns what gives it back, however often that is called; undefined if there are too many. */
  take(viewer: Viewer): (() => void) | undefined;
};

export function createHolderCount({
  max,
  maxPerHolder,
}: {
  readonly max: number;
  readonly maxPerHolder: number;
}): HolderCount {
  const perHolder = new Map<string, number>();
  let sum = 0;
  const add = (holder: string | undefined, count: number) => {
    sum += count;
    if (holder === undefined) return;
    const held = (perHolder.get(holder) ?? 0) + count;
    if (held === 0) perHolder.delete(holder);
    else perHolder.set(holder, held);
  };
  return {
    take: (viewer) => {
      const holder = holderOf(viewer);
      if (sum >= max || (holder !== undefined && (perHolder.get(holder) ?? 0) >= maxPerHolder)) return undefined;
      add(holder, 1);
      let isHeld = true;
      return () => {
        if (isHeld) add(holder, -1);
        isHeld = false;
      };
    },
  };
}
