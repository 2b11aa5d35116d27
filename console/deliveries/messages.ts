export const deliveriesWords = {
  title: 'Deliveries',
  label: 'Deliveries, newest first',
  empty: 'No delivery',
  emptyHint: 'A delivery is created for each subscription that matches an event.',
  all: 'All',
} as const;
