.PHONY: screenshots

# Pictures of the UI in docs/images, by a real server, worker and run; needs chromium.
screenshots:
	python docs/screenshots.py
