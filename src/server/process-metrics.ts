import process from 'node:process';
import { collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import { VERSION } from '../lib/version.ts';

let registry: Registry | undefined;

/**
 * Version, memory, processor, event loop, garbage collection, handles: of the process, of which there is one, whatever runs in it.
 * Hence one registry, which all programs in it share: what the library observes with, it never lets go of.
 */
export function processMetrics(): Registry {
  if (registry === undefined) {
    registry = new Registry();
    collectDefaultMetrics({ register: registry });
    new Gauge({
      ...{ registers: [registry], name: 'webhooks_build_info', labelNames: ['version', 'node'] },
      help: 'Always 1; the labels say which version of this program runs, and on which version of Node.js',
    }).set({ version: VERSION, node: process.versions.node }, 1);
  }
  return registry;
}
