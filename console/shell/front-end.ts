/** Whether this page is the portal: the pages of a tenant's users, below `/portal/`, without those of operators. */
export const IS_PORTAL = document.documentElement.dataset.frontEnd === 'portal';
