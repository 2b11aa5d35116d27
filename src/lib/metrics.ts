import type { Registry } from 'prom-client';

/** Metrics that several parts of a program count in are made by the first of them. Each program has a registry of its own. */
export function perRegistry<T>(create: (metrics: Registry) => T): (metrics: Registry) => T {
  const made = new WeakMap<Registry, { readonly value: T }>();
  return (metrics) => {
    const known = made.get(metrics) ?? { value: create(metrics) };
    made.set(metrics, known);
    return known.value;
  };
}
