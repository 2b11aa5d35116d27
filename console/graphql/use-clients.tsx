import { createContext, type ReactNode, useContext, useEffect, useMemo } from 'react';
import { Provider } from 'urql';
import { type Clients, createClients } from './client.ts';

const ClientsContext = createContext<Clients | undefined>(undefined);

/** Gives pages the clients of a credential. */
export function ClientsProvider({
  sessionKey,
  children,
}: {
  readonly sessionKey: string;
  readonly children: ReactNode;
}) {
  const clients = useMemo(() => createClients(sessionKey), [sessionKey]);
  useEffect(() => () => void clients.live.dispose(), [clients]);
  return (
    <ClientsContext value={clients}>
      <Provider value={clients.urql}>{children}</Provider>
    </ClientsContext>
  );
}

export function useLiveClient(): Clients['live'] {
  const clients = useContext(ClientsContext);
  if (clients === undefined) throw new Error('outside of ClientsProvider');
  return clients.live;
}
