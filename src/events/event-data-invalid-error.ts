import { DomainError } from '../domain-error.ts';
import type { Mismatch, SchemaProblem } from './compile-schema.ts';

/** The data is not as the schema of its event type wants it. */
export class EventDataInvalidError extends DomainError {
  readonly code = 'EVENT_DATA_INVALID';
  /** At most 20. */
  readonly problems: readonly SchemaProblem[];

  constructor(mismatch: Mismatch) {
    super(describeMismatch(mismatch));
    this.problems = mismatch.problems;
  }
}

/** The first problem, and how many more there are. */
export function describeMismatch({ problems, count }: Mismatch): string {
  const [first] = problems;
  const more = count > 1 ? ` (and ${count - 1} more)` : '';
  return `${first?.path ?? 'data'} ${first?.message ?? 'is not valid'}${more}`;
}
