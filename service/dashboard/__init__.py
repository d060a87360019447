"""Pages for people: the login and the dashboards. A page is a module with a router, added in `pages`."""
