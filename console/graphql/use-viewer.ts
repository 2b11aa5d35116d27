import { useQuery } from 'urql';
import { ViewerDocument } from '../generated/graphql.ts';

type ViewerState = {
  /** Whether the credential is of every tenant. False until the server has answered. */
  readonly isAdmin: boolean;
  readonly canWrite: boolean;
  /** Whether a session sees some webhook subscriptions only. */
  readonly isLimited: boolean;
  readonly hidesPayloads: boolean;
};

/** The rights of the credential. The server decides; pages leave out actions that it would refuse. */
export function useViewer(): ViewerState {
  const [{ data }] = useQuery({ query: ViewerDocument, requestPolicy: 'cache-first' });
  const scope = data?.viewer.scope;
  return {
    isAdmin: scope === 'ADMIN',
    canWrite: scope === 'ADMIN' || scope === 'TENANT_WRITE',
    isLimited: data?.viewer.subscriptionIds != null,
    hidesPayloads: data?.viewer.hidePayloads === true,
  };
}
