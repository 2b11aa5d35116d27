import { Component, type FunctionComponent, lazy, type ReactNode, Suspense } from 'react';
import { Route, Router, Switch, useLocation } from 'wouter';
import { useStore } from './graphql/store.ts';
import { ClientsProvider } from './graphql/use-clients.tsx';
import { useViewerChanges } from './graphql/use-viewer.ts';
import { messages } from './messages.ts';
import { session } from './session/session.ts';
import { SignInAgain, SignInPage } from './session/sign-in.tsx';
import { actingBase, BASE } from './shell/acting-tenant.ts';
import { IS_PORTAL } from './shell/front-end.ts';
import { Layout, PageTitle } from './shell/layout.tsx';
import { EmptyState, SkeletonRows } from './ui/states.tsx';

/** A page, perhaps of one object, whose code is loaded when it is first shown. `name`: the export of the page. */
function page<Name extends string, Module extends Readonly<Record<Name, FunctionComponent<{ readonly id: string }>>>>(
  load: () => Promise<Module>,
  name: Name,
) {
  return lazy(async () => ({ default: (await load())[name] }));
}

const LiveLogPage = page(() => import('./live-log/live-log-page.tsx'), 'LiveLogPage');
const EventPage = page(() => import('./events/event-page.tsx'), 'EventPage');
const EventsPage = page(() => import('./events/events-page.tsx'), 'EventsPage');
const DeliveryPage = page(() => import('./deliveries/delivery-page.tsx'), 'DeliveryPage');
const DeliveriesPage = page(() => import('./deliveries/deliveries-page.tsx'), 'DeliveriesPage');
const OverviewPage = page(() => import('./overview/overview-page.tsx'), 'OverviewPage');
const SubscriptionsPage = page(() => import('./subscriptions/subscriptions-page.tsx'), 'SubscriptionsPage');
const SubscriptionPage = page(() => import('./subscriptions/subscription-page.tsx'), 'SubscriptionPage');
const FilterPlaygroundPage = page(
  () => import('./filter-playground/filter-playground-page.tsx'),
  'FilterPlaygroundPage',
);
const ReplaysPage = page(() => import('./replays/replays-page.tsx'), 'ReplaysPage');
const ReplayPage = page(() => import('./replays/replay-page.tsx'), 'ReplayPage');
const EventTypesPage = page(() => import('./event-types/event-types-page.tsx'), 'EventTypesPage');
const RejectedEventsPage = page(() => import('./rejected-events/rejected-events-page.tsx'), 'RejectedEventsPage');
const TenantsPage = page(() => import('./tenants/tenants-page.tsx'), 'TenantsPage');
const DeliveryJobsPage = page(() => import('./delivery-jobs/delivery-jobs-page.tsx'), 'DeliveryJobsPage');
const DeliveryJobPage = page(() => import('./delivery-jobs/delivery-job-page.tsx'), 'DeliveryJobPage');
const AuditLogPage = page(() => import('./audit-log/audit-log-page.tsx'), 'AuditLogPage');
const ErasuresPage = page(() => import('./erasures/erasures-page.tsx'), 'ErasuresPage');
const KeysPage = page(() => import('./keys/keys-page.tsx'), 'KeysPage');

export function App() {
  const current = useStore(session);
  if (current === undefined) return <SignInPage />;
  return (
    <ClientsProvider sessionId={current.id}>
      <Router base={BASE}>
        <ShellOfViewer />
      </Router>
      {current.hasEnded && !IS_PORTAL && <SignInAgain />}
    </ClientsProvider>
  );
}

/** An array, because Switch finds routes only among its direct children. */
const OPERATOR_PAGES = [
  <Route key="tenants" path="/tenants" component={TenantsPage} />,
  <Route key="replay" path="/replays/:id">
    {({ id }) => <ReplayPage key={id} id={decodeURIComponent(id)} />}
  </Route>,
  <Route key="replays" path="/replays" component={ReplaysPage} />,
  <Route key="rejected" path="/rejected-events" component={RejectedEventsPage} />,
  <Route key="job" path="/jobs/:id">
    {({ id }) => <DeliveryJobPage key={id} id={decodeURIComponent(id)} />}
  </Route>,
  <Route key="jobs" path="/jobs" component={DeliveryJobsPage} />,
  <Route key="audit" path="/audit-log" component={AuditLogPage} />,
  <Route key="erasures" path="/erasures" component={ErasuresPage} />,
  <Route key="keys" path="/keys" component={KeysPage} />,
];

/** Another viewer gets new pages, without the rows of the one before. */
function ShellOfViewer() {
  return <Shell key={useViewerChanges()} />;
}

/** The pages. Below `/as/<tenant>`, every link stays below that path. */
function Shell() {
  const [location] = useLocation();
  const base = actingBase(location);
  return (
    <Router base={base}>
      <Layout>
        {/* A page for another tenant begins anew. */}
        <PageBoundary key={base} location={location}>
          <Suspense fallback={<SkeletonRows />}>
            <Pages />
          </Suspense>
        </PageBoundary>
      </Layout>
    </Router>
  );
}

/** A page with a key starts anew for another object, without the data and the failures of the one before. */
function Pages() {
  return (
    <Switch>
      <Route path="/" component={IS_PORTAL ? SubscriptionsPage : OverviewPage} />
      <Route path="/log" component={LiveLogPage} />
      <Route path="/event" component={EventPage} />
      <Route path="/events" component={EventsPage} />
      <Route path="/deliveries/:id">{({ id }) => <DeliveryPage key={id} id={decodeURIComponent(id)} />}</Route>
      <Route path="/deliveries" component={DeliveriesPage} />
      <Route path="/subscriptions/:id/filter">
        {({ id }) => <FilterPlaygroundPage key={id} id={decodeURIComponent(id)} />}
      </Route>
      <Route path="/subscriptions/:id">{({ id }) => <SubscriptionPage key={id} id={decodeURIComponent(id)} />}</Route>
      <Route path="/subscriptions" component={SubscriptionsPage} />
      <Route path="/event-types" component={EventTypesPage} />
      {!IS_PORTAL && OPERATOR_PAGES}
      <Route>
        <PageTitle title={messages.notFound} />
        <EmptyState title={messages.notFoundHint} />
      </Route>
    </Switch>
  );
}

type BoundaryProps = { readonly location: string; readonly children: ReactNode };

/** A bug in a page leaves navigation and other pages usable. */
class PageBoundary extends Component<BoundaryProps, { readonly hasFailed: boolean }> {
  override state = { hasFailed: false };

  static getDerivedStateFromError() {
    return { hasFailed: true };
  }

  override componentDidUpdate({ location }: BoundaryProps) {
    if (this.state.hasFailed && location !== this.props.location) this.setState({ hasFailed: false });
  }

  override componentDidCatch(error: Error) {
    reportError(error);
  }

  override render() {
    if (!this.state.hasFailed) return this.props.children;
    return <EmptyState title={messages.pageFailed}>{messages.pageFailedHint}</EmptyState>;
  }
}
