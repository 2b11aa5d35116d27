import { messages } from '../messages.ts';
import { PageTitle } from '../shell/layout.tsx';
import { useUrlParams } from '../shell/use-url-params.ts';
import { CopyIcon } from '../ui/copy.tsx';
import { DeliveryView } from './delivery-view.tsx';

/** One delivery. The URL has the selected attempt. */
export function DeliveryPage({ id }: { readonly id: string }) {
  const [params, setParams] = useUrlParams();
  return (
    <DeliveryView
      id={id}
      attemptId={params.get('attempt') ?? undefined}
      onAttempt={(attempt) => setParams({ attempt })}
      heading={(actions) => (
        <PageTitle title={messages.delivery.title} after={<CopyIcon text={id} label={messages.copyId(id)} />}>
          {actions}
        </PageTitle>
      )}
    />
  );
}
