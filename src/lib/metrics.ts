import type { Registry } from 'prom-client';

/**
 * Creates metrics that several parts of a process share: once per registry, by the part that asks first. Each process
 * has its own registry.
 */
export function perRegistry<T>(create: (metrics: Registry) => T): (metrics: Registry) => T {
  const made = new WeakMap<Registry, { readonly value: T }>();
  return (metrics) => {
    const known = made.get(metrics) ?? { value: create(metrics) };
    made.set(metrics, known);
    return known.value;
  };
}
