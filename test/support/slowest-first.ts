import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Files that take more than some 20 s, slowest first. Started last, each would be waited for while other workers idle. */
const SLOW_FILES = [
  'crash',
  'under-load-two-programs',
  'start',
  'outage',
  'under-load-servers',
  'under-load-program',
  'live',
  'replay',
  'embedded-postgres',
  'nats-connection',
  'long-lock',
  'event-catalogue',
  'poison',
  'clocks',
  'slow-attempt',
  'stress',
  'circuit',
  'crash-test',
  'isolation',
  'replay-crash',
  'relaunch',
  'replay-progress',
  'publish-event',
].map((name) => `/test/integration/${name}.test.ts`);

/** Starts the slow files first; a machine that has not run the tests before knows nothing of their durations. */
export class SlowestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    return sorted.sort((a, b) => rank(a) - rank(b));
  }
}

function rank({ moduleId }: TestSpecification): number {
  const index = SLOW_FILES.findIndex((file) => moduleId.endsWith(file));
  return index === -1 ? SLOW_FILES.length : index;
}
