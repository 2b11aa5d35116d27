/** The texts of the portal alone. */
export const portalWords = {
  title: 'Webhooks',
  linkUsed: {
    title: 'This link was already used, or has expired',
    hint: 'A link opens the portal once, within a minute. Go back to your application and open the portal from there again.',
  },
  unreachable: {
    title: 'The server cannot be reached',
    hint: 'Reload this page within a minute, or open the portal from your application again.',
  },
  noSession: {
    title: 'Open the portal from your application',
    hint: 'Your application signs you in. You cannot sign in at this address directly.',
  },
  noToken: {
    title: 'Your application gave no access',
    hint: 'The page around this one has not signed you in. This page asks again every few seconds.',
  },
};
