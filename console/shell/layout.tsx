import { type ReactNode, useEffect, useState } from 'react';
import { useLocation } from 'wouter';
import { useViewer } from '../graphql/use-viewer.ts';
import { messages } from '../messages.ts';
import { paths } from '../paths.ts';
import { IconButton } from '../ui/button.tsx';
import { Icon, type IconName } from '../ui/icons.tsx';
import { Link } from '../ui/link.tsx';
import { LiveRegion } from '../ui/live-region.tsx';
import { ActingBar } from './acting-bar.tsx';
import { ConnectionState } from './connection-state.tsx';
import { FindDialog } from './find-dialog.tsx';
import { IS_PORTAL } from './front-end.ts';
import styles from './layout.module.css';
import { PersonalSettings } from './personal-settings.tsx';
import { Shortcuts } from './shortcuts.tsx';

type Entry = {
  readonly to: string;
  readonly icon: IconName;
  readonly name: string;
  /** Another page of the entry, in addition to the pages below `to`. */
  readonly also?: string;
  /** Whether the page is for credentials of every tenant only. */
  readonly isForAdmins?: boolean;
  /** Whether the page is part of the portal. */
  readonly isInPortal?: boolean;
  /** Whether the page shows more than the webhook subscriptions that a session can be limited to. */
  readonly isOfTenant?: boolean;
};

const words = messages.navigation;
const ENTRIES: readonly Entry[] = [
  { to: paths.overview(), icon: 'overview', name: words.overview },
  { to: paths.tenants(), icon: 'tenants', name: words.tenants, isForAdmins: true },
  { to: paths.liveLog(), icon: 'live', name: words.liveLog, isInPortal: true },
  { to: paths.events(), icon: 'event', name: words.events, also: '/event', isInPortal: true, isOfTenant: true },
  { to: paths.deliveries(), icon: 'delivery', name: words.deliveries, isInPortal: true },
  {
    to: paths.subscriptions(),
    icon: 'subscription',
    name: words.subscriptions,
    isInPortal: true,
    ...(IS_PORTAL && { also: '/' }),
  },
  { to: paths.replays(), icon: 'replay', name: words.replays, isOfTenant: true },
  { to: paths.jobs(), icon: 'jobs', name: words.jobs, isOfTenant: true },
  { to: paths.catalogue(), icon: 'catalogue', name: words.catalogue, isInPortal: true },
  { to: paths.rejectedEvents(), icon: 'rejected', name: words.rejectedEvents, isOfTenant: true },
  { to: paths.auditLog(), icon: 'audit', name: words.auditLog, isOfTenant: true },
  { to: paths.keys(), icon: 'key', name: words.keys, isForAdmins: true },
  { to: paths.erasures(), icon: 'erase', name: words.erasures, isForAdmins: true },
];

/** Navigation, top bar and content of every page. */
export function Layout({ children }: { readonly children: ReactNode }) {
  const [isOpen, setOpen] = useState(false);
  const [location] = useLocation();
  const { isAdmin, seesAllSubscriptions } = useViewer();
  const entries = ENTRIES.filter(
    ({ isForAdmins = false, isInPortal = false, isOfTenant = false }) =>
      (isAdmin || !isForAdmins) && (isInPortal || !IS_PORTAL) && (seesAllSubscriptions || !isOfTenant),
  );
  const [openedAt, setOpenedAt] = useState(location);
  // The drawer closes when a page is chosen.
  if (openedAt !== location) {
    setOpenedAt(location);
    setOpen(false);
  }
  return (
    <div className={IS_PORTAL ? `${styles.layout} ${styles.portal}` : styles.layout}>
      <button type="button" className={styles.skip} onClick={focusContent}>
        {words.skip}
      </button>
      <header className={styles.top}>
        <span className={styles.menu}>
          <IconButton icon="menu" label={words.open} aria-expanded={isOpen} onClick={() => setOpen(!isOpen)} />
        </span>
        <span className={styles.product}>{messages.product}</span>
        <FindDialog />
        <span className={styles.space} />
        <ConnectionState />
        <PersonalSettings />
      </header>
      <nav aria-label={words.label} className={isOpen ? `${styles.navigation} ${styles.open}` : styles.navigation}>
        <ul>
          {entries.map((entry) => (
            <li key={entry.to}>
              <NavigationLink {...entry} location={location} />
            </li>
          ))}
        </ul>
      </nav>
      <ActingBar />
      <main id="content" tabIndex={-1} className={styles.content}>
        {children}
      </main>
      <Shortcuts />
      <LiveRegion />
    </div>
  );
}

function NavigationLink({ to, icon, name, also, location }: Entry & { readonly location: string }) {
  const isCurrent = location === to || location === also || (to !== '/' && location.startsWith(`${to}/`));
  return (
    <Link to={to} className={styles.entry} title={name} aria-current={isCurrent ? 'page' : undefined}>
      <Icon name={icon} />
      <span>{name}</span>
    </Link>
  );
}

function focusContent(): void {
  document.getElementById('content')?.focus();
}

type PageTitleProps = { readonly title: string; readonly after?: ReactNode; readonly children?: ReactNode };

/** The title of the tab and the heading of the page; `after` follows the heading, `children` are at the right. */
export function PageTitle({ children, title, after }: PageTitleProps) {
  useEffect(() => {
    document.title = IS_PORTAL ? title : `${title} · ${messages.product}`;
  }, [title]);
  return (
    <div className={styles.title}>
      <h1>{title}</h1>
      <span className={styles.after}>{after}</span>
      {children}
    </div>
  );
}
