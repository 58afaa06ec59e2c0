"""Files in the compound format of Office 97: messages of Outlook, and old documents, which LibreOffice converts."""
