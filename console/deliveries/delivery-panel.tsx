import { messages } from '../messages.ts';
import { paths } from '../paths.ts';
import { useHotkey } from '../shell/use-hotkey.ts';
import { useUrlParams } from '../shell/use-url-params.ts';
import { IconButton } from '../ui/button.tsx';
import { Link } from '../ui/link.tsx';
import { useIsWide } from '../ui/use-is-wide.ts';
import styles from './delivery-view.module.css';
import { DeliveryView } from './delivery-view.tsx';

type DeliveryPanelProps = {
  readonly id: string;
  readonly attemptId: string | undefined;
  readonly onAttempt: (id: string) => void;
  readonly onClose: () => void;
};

/** On wide screens, the delivery of the URL parameter `delivery`, beside a list. Escape closes it. */
export function OpenDelivery() {
  const [params, setParams] = useUrlParams();
  const isWide = useIsWide();
  const id = params.get('delivery');
  const close = () => setParams({ delivery: undefined, attempt: undefined });
  useHotkey('Escape', close);
  if (!isWide || id === null) return null;
  return (
    <DeliveryPanel
      key={id}
      id={id}
      attemptId={params.get('attempt') ?? undefined}
      onAttempt={(attempt) => setParams({ attempt })}
      onClose={close}
    />
  );
}

function DeliveryPanel({ id, onClose, ...rest }: DeliveryPanelProps) {
  return (
    <aside className={styles.panel} aria-label={messages.delivery.title}>
      <DeliveryView
        id={id}
        {...rest}
        heading={(actions) => (
          <div className={styles.head}>
            <h2>
              <Link to={paths.delivery(id)}>{messages.delivery.title}</Link>
            </h2>
            <IconButton icon="close" label={messages.close} onClick={onClose} />
            <div className={styles.panelActions}>{actions}</div>
          </div>
        )}
      />
    </aside>
  );
}
