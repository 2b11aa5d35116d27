import { useState } from 'react';
import { useClient } from 'urql';
import { type AttemptDetailsFragment, type DeliveryDetailsQuery, OlderAttemptsDocument } from '../generated/graphql.ts';

type Delivery = NonNullable<DeliveryDetailsQuery['delivery']>;
type PageInfo = Delivery['attempts']['pageInfo'];

type Attempts = {
  /** Newest first. */
  readonly attempts: readonly AttemptDetailsFragment[];
  /** Reads the page after the oldest attempt; undefined if there is none, and during a read. */
  readonly loadOlder: (() => void) | undefined;
};

/** The attempts read with a delivery, and older ones on request, in pages. */
export function useAttempts(delivery: Delivery | undefined): Attempts {
  const client = useClient();
  const [isLoading, setLoading] = useState(false);
  const [kept, setKept] = useState<{ of: string; attempts: readonly AttemptDetailsFragment[]; pageInfo: PageInfo }>();
  if (delivery === undefined) return { attempts: [], loadOlder: undefined };
  const { id, attempts: first } = delivery;
  const earlier = kept?.of === id ? kept : undefined;
  const attempts = newestFirst(first.nodes, earlier?.attempts ?? []);
  const { endCursor, hasNextPage } = earlier?.pageInfo ?? first.pageInfo;
  const loadOlder = async () => {
    setLoading(true);
    const { data } = await client.query(OlderAttemptsDocument, { id, after: endCursor ?? null }).toPromise();
    setLoading(false);
    const page = data?.delivery?.attempts;
    // Keep all shown attempts: new ones push older ones off the page that is read with the delivery.
    if (page !== undefined) setKept({ of: id, attempts: [...attempts, ...page.nodes], pageInfo: page.pageInfo });
  };
  return { attempts, loadOlder: hasNextPage && !isLoading ? () => void loadOlder() : undefined };
}

function newestFirst(
  current: readonly AttemptDetailsFragment[],
  earlier: readonly AttemptDetailsFragment[],
): readonly AttemptDetailsFragment[] {
  const ids = new Set(current.map(({ id }) => id));
  return [...current, ...earlier.filter(({ id }) => !ids.has(id))];
}
