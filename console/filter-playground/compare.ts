import type { FilterResultsQuery } from '../generated/graphql.ts';

const HAS_MEMBER = { member: { $exists: true } };
/** Stands for a missing filter, because the server rejects a filter without conditions. */
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

/** The text of a filter for the editor and for the comparison. */
export function textOfFilter(filter: unknown): string {
  return filter == null ? '' : JSON.stringify(filter, undefined, 2);
}
