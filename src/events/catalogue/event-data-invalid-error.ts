import { InputError } from '../../lib/domain-error.ts';
import type { Mismatch } from './compile-schema.ts';

/** The data is not as the schema of its event type wants it. Has the first 20 problems at most. */
export class EventDataInvalidError extends InputError {
  readonly code = 'EVENT_DATA_INVALID';

  constructor(mismatch: Mismatch) {
    super(
      mismatch.problems.map((problem) => ({ ...problem, code: 'EVENT_DATA_INVALID' })),
      describeMismatch(mismatch),
    );
  }
}

/** The first problem, and how many more there are. */
export function describeMismatch({ problems, count }: Mismatch): string {
  const [first] = problems;
  const more = count > 1 ? ` (and ${count - 1} more)` : '';
  return `${first?.path ?? 'data'} ${first?.message ?? 'is not valid'}${more}`;
}
