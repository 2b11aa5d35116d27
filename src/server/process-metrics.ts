import { collectDefaultMetrics, Registry } from 'prom-client';

let registry: Registry | undefined;

/**
 * Memory, processor, event loop, garbage collection, handles: of the process, of which there is one, whatever runs in it.
 * Hence one registry, which all programs in it share: what the library observes with, it never lets go of.
 */
export function processMetrics(): Registry {
  if (registry === undefined) {
    registry = new Registry();
    collectDefaultMetrics({ register: registry });
  }
  return registry;
}
