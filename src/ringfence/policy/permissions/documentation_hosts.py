"""Hosts of public documentation that Claude Code fetches from without asking, as measured on the client.

What is fetched there is public and the request says nothing but which page is wanted. A host where anyone can publish,
or where the path alone can carry a message to somebody who counts requests, is not among them.
"""

DOCUMENTATION = frozenset(
    """
    agentskills.io angular.io asp.net blazor.net bun.sh cloud.google.com code.claude.com cypress.io d3js.org
    dev.mysql.com devcenter.heroku.com developer.android.com developer.apple.com developer.mozilla.org
    doc.rust-lang.org docs.aws.amazon.com docs.djangoproject.com docs.flutter.dev docs.netlify.com
    docs.oracle.com docs.python.org docs.spring.io docs.swift.org docs.unity.com docs.unrealengine.com
    dotnet.microsoft.com en.cppreference.com expressjs.com fastapi.tiangolo.com flask.palletsprojects.com
    getbootstrap.com git-scm.com gradle.org graphql.org hibernate.org httpd.apache.org jestjs.io jquery.com
    jupyter.org keras.io kotlinlang.org kubernetes.io laravel.com learn.microsoft.com matplotlib.org
    maven.apache.org modelcontextprotocol.io nextjs.org nginx.org nodejs.org numpy.org pandas.pydata.org
    platform.claude.com prisma.io pytorch.org react.dev reactnative.dev reactrouter.com redis.io redux.js.org
    requests.readthedocs.io ruby-doc.org scikit-learn.org selenium.dev spark.apache.org symfony.com
    tailwindcss.com threejs.org tomcat.apache.org vuejs.org webpack.js.org www.ansible.com www.docker.com
    www.mongodb.com www.php.net www.postgresql.org www.sqlite.org www.tensorflow.org www.terraform.io
    www.typescriptlang.org
    """.split()
)

DOCUMENTATION_PATHS = {"github.com": "/anthropics", "vercel.com": "/docs"}
"""Hosts that are documentation below one path only."""
