import { useState } from 'react';
import { useQuery } from 'urql';
import { ViewerDocument } from '../generated/graphql.ts';

/** The rights of the credential; it has none until the server has answered. */
type ViewerRights = {
  /** Valid for every tenant. */
  readonly isAdmin: boolean;
  readonly canWrite: boolean;
  /** False for a session that is limited to some webhook subscriptions. */
  readonly seesAllSubscriptions: boolean;
  readonly seesPayloads: boolean;
};

/** The rights of the credential. The server enforces them; pages hide what it would refuse. */
export function useViewer(): ViewerRights {
  const [{ data }] = useQuery({ query: ViewerDocument, requestPolicy: 'cache-first' });
  const viewer = data?.viewer;
  return {
    isAdmin: viewer?.scope === 'ADMIN',
    canWrite: viewer?.scope === 'ADMIN' || viewer?.scope === 'TENANT_WRITE',
    seesAllSubscriptions: viewer?.subscriptionIds === null,
    seesPayloads: viewer?.hidePayloads === false,
  };
}

/**
 * Counts how often another viewer has followed in this tab. A renewed credential of the same viewer counts as none, nor does the
 * first answer of the server.
 */
export function useViewerChanges(): number {
  const [{ data }] = useQuery({ query: ViewerDocument, requestPolicy: 'cache-first' });
  const [known, setKnown] = useState<{ readonly viewer: string | undefined; readonly changes: number }>({
    viewer: undefined,
    changes: 0,
  });
  const viewer = data && JSON.stringify(data.viewer);
  if (viewer !== undefined && viewer !== known.viewer) {
    setKnown({ viewer, changes: known.viewer === undefined ? 0 : known.changes + 1 });
  }
  return known.changes;
}
