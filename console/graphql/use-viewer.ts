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
