/** The texts of the portal alone. */
export const portalWords = {
  title: 'Webhooks',
  linkUsed: {
    title: 'This link was used before, or is too old',
    hint: 'A link opens the portal once, within a minute. Go back to your application and open the portal from there again.',
  },
  unreachable: {
    title: 'The server cannot be reached',
    hint: 'Go back to your application and open the portal from there again.',
  },
  noSession: {
    title: 'Open the portal from your application',
    hint: 'The application that you use signs you in here. This address alone does not.',
  },
};
