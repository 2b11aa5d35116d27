import type { FilterResultsQuery } from '../generated/graphql.ts';

const HAS_MEMBER = { member: { $exists: true } };
/** The server takes no filter without a condition. */
export const MATCHES_EVERYTHING = { $or: [HAS_MEMBER, { $not: HAS_MEMBER }] };

export type EventResult = FilterResultsQuery['testFilterOnEvents'][number] & {
  /** The difference to the saved filter. */
  readonly change: 'gained' | 'lost' | undefined;
};

type Results = FilterResultsQuery['testFilterOnEvents'];

/** The results of the edited filter, each with its difference to the result of the saved one. */
export function compareResults(edited: Results, saved: Results): readonly EventResult[] {
  const matchedBefore = new Map(saved.map(({ event, matches }) => [event.id, matches]));
  return edited.map((result) => {
    const before = matchedBefore.get(result.event.id);
    const isSame = before === undefined || before === result.matches;
    return { ...result, change: isSame ? undefined : result.matches ? 'gained' : 'lost' };
  });
}

/** The text that is edited for a filter, and the comparison is made with. */
export function textOfFilter(filter: unknown): string {
  return filter == null ? '' : JSON.stringify(filter, undefined, 2);
}
